"""mmseg's data preprocessor with low-frequency cropping."""

from __future__ import annotations

from typing import Any

from mmseg.models import SegDataPreProcessor

from .lowpass import small_size
from .preprocessor import LowFrequencyMixin


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
