r"""Low-frequency cropping: an image made smaller by keeping the centre of its spectrum.

With :math:`F` the two-dimensional DFT of a signal of :math:`H \times W` pixels, the crop to
:math:`h \times w` keeps the frequencies :math:`-h/2 \le k < h/2`, :math:`-w/2 \le l < w/2`:

.. math:: y = \mathrm{Re}\; \mathrm{IDFT}_{h \times w}\left(
          \frac{h w}{H W} F_{kl}\, e^{2 \pi i (k d_y / H + l d_x / W)} \right)

The mean is kept, nothing above the new Nyquist frequency is left, and a signal that had nothing
there is sampled exactly. With ``align='corner'``, :math:`d = 0`: pixel 0 lies on pixel 0, as in the
reference, and content moves by half of (1 - scale) small pixels against its boxes. With
``align='center'``, :math:`d = (1/s - 1)/2` and the centres of the images agree, so that boxes are
scaled and nothing else. As in the reference the frequency at -h/2 is kept on one side only: a
cosine there comes out with half its amplitude.

Source: Wang et al., EfficientTrain, ICCV 2023, and EfficientTrain++, TPAMI 2024; the reference is
square and corner-aligned.
"""

from __future__ import annotations

import torch
from torch import Tensor

ALIGNS = ('center', 'corner')


def small_size(size: int, ratio: float) -> int:
    """Pixels left of ``size``: ``2 round(ratio size / 2)``, at least 2; all of it for ratio 1.

    A side of one pixel stays one pixel.
    """
    return size if ratio == 1 else min(size, max(2, 2 * round(ratio * size / 2)))


def fourier_crop(images: Tensor, height: int, width: int, align: str = 'center') -> Tensor:
    """Crop the spectrum of ``images``, shape (..., H, W), to (..., height, width).

    Computed in float32 at least, whatever the input's type and autocast. An axis whose size does
    not change is left alone.

    Args:
        images: any real type.
        height: rows of the result, even or H.
        width: columns of the result, even or W.
        align: 'center' or 'corner', which points of the two grids agree.

    Raises:
        ValueError: a size that is odd or larger than that of the image.
    """
    result = images if images.dtype == torch.float64 else images.float()
    with torch.autocast(images.device.type, enabled=False):
        for axis, size in ((-2, height), (-1, width)):
            result = _crop_axis(result, axis, size, align)
    return result.real.contiguous() if result.is_complex() else result


def _crop_axis(signal: Tensor, axis: int, size: int, align: str) -> Tensor:
    """One axis of the crop; the result is complex wherever something was cropped."""
    before = signal.shape[axis]
    if size == before:
        return signal
    if size % 2 or not 0 < size < before:
        raise ValueError(
            f'{before} pixels cannot be cropped to {size}; allowed is {before} or an even number '
            'below it.'
        )
    half = size // 2
    spectrum = torch.fft.fft(signal, dim=axis)
    kept = torch.cat([spectrum.narrow(axis, 0, half), spectrum.narrow(axis, -half, half)], axis)
    scaled = kept * (size / before)
    if align == 'center':
        frequency = torch.fft.fftfreq(size, 1 / size, device=signal.device, dtype=torch.float64)
        phase = 2 * torch.pi * frequency * (before / size - 1) / 2 / before
        shift = torch.polar(torch.ones_like(phase), phase).to(kept.dtype)
        scaled = scaled * (shift[:, None] if axis == -2 else shift)
    cropped: Tensor = torch.fft.ifft(scaled, dim=axis)
    return cropped
