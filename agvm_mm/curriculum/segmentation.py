"""mmseg's data preprocessor with low-frequency cropping."""

from __future__ import annotations

from typing import Any

from mmseg.models import SegDataPreProcessor

from .geometry import Grid
from .lowpass import small_size
from .preprocessor import LowFrequencyMixin
from .samples import move_sample


class LowFreqSegDataPreprocessor(LowFrequencyMixin, SegDataPreProcessor):
    """``SegDataPreProcessor`` whose training images a curriculum makes smaller.

    ``size``, to which mmseg pads, shrinks with the images.
    """

    size: tuple[int, ...] | None

    def forward(self, data: Any, training: bool = False) -> Any:
        """Pad a training batch to the small size instead of ``size``."""
        full = self.size
        if training and full is not None:
            self.size = tuple(small_size(side, self.ratio) for side in full)
        try:
            return super().forward(data, training)
        finally:
            self.size = full

    def _shrink_sample(self, sample: Any, grid: Grid) -> Any:
        return move_sample(sample, grid, self.min_box_size)
