"""Low-frequency cropping in a data preprocessor: before normalisation and padding.

Padding first would let the canvas ring: the edge between image and padding is the sharpest of all.
Cropping and normalising commute.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from agvm_runs.checks import is_number, require

from .geometry import Grid
from .lanczos import lanczos_resize
from .lowpass import ALIGNS, fourier_crop, small_size
from .samples import move_sample

MODES = ('fft', 'lanczos')
WHERE = 'model.data_preprocessor'


class LowFrequencyMixin:
    """Crops training images and their ground truth; put it before a data preprocessor.

    Args:
        mode: 'fft' crops the spectrum, 'lanczos' resizes with a Lanczos filter.
        align: which points of image and small image agree, 'center' or, as in the reference,
            'corner'; Lanczos has 'center' alone.
        min_box_size: boxes that become narrower or lower than this many pixels are left out.
        **kwargs: of the data preprocessor.

    Attributes:
        ratio: side of the training images over their full size; :class:`.hook.CurriculumHook`
            sets it. Evaluation is always at full size.
    """

    def __init__(
        self,
        *args: Any,
        mode: str = 'fft',
        align: str = 'center',
        min_box_size: float = 1.0,
        **kwargs: Any,
    ) -> None:
        require(mode in MODES, 'mode', mode, "'fft' or 'lanczos'", WHERE)
        aligns = ALIGNS if mode == 'fft' else ('center',)
        require(align in aligns, 'align', align, f'{" or ".join(aligns)} with mode={mode!r}', WHERE)
        require(
            is_number(min_box_size) and min_box_size >= 0,
            'min_box_size',
            min_box_size,
            'a number of pixels, at least 0',
            WHERE,
        )
        super().__init__(*args, **kwargs)
        self.mode = mode
        self.align = align
        self.min_box_size = min_box_size
        self.ratio = 1.0

    def forward(self, data: Any, training: bool = False) -> Any:
        """Make a training batch smaller, then do what the base preprocessor does."""
        if training and self.ratio < 1:
            data = self._shrink(data)
        return super().forward(data, training)  # type: ignore[misc]

    def _shrink(self, data: dict[str, Any]) -> dict[str, Any]:
        """Images and samples of a batch, made smaller; what was given stays as it was."""
        # The ground truth stays on the host, where its small tensors need no waiting for a device.
        cast: Callable[[Any], Any] = self.cast_data  # type: ignore[attr-defined]
        inputs: Sequence[Tensor] | Tensor = cast(data['inputs'])
        grids = [self._grid(image) for image in inputs]
        if isinstance(inputs, Tensor):
            images: Any = self._crop(inputs, grids[0])
        else:
            images = [self._crop(image, grid) for image, grid in zip(inputs, grids)]
        samples = data.get('data_samples')
        if samples is not None:
            size = self.min_box_size
            samples = [move_sample(sample, grid, size) for sample, grid in zip(samples, grids)]
        return {**data, 'inputs': images, 'data_samples': samples}

    def _grid(self, image: Tensor) -> Grid:
        height, width = image.shape[-2:]
        after = small_size(height, self.ratio), small_size(width, self.ratio)
        return Grid((height, width), after, self.align)

    @torch.no_grad()
    def _crop(self, images: Tensor, grid: Grid) -> Tensor:
        if self.mode == 'lanczos':
            return lanczos_resize(images, *grid.after)
        return fourier_crop(images, *grid.after, align=grid.align)
