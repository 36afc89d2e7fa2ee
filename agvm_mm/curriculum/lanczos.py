r"""Lanczos down-sampling, the low-frequency crop of the later EfficientTrain++ release.

.. math:: y_j = \sum_i w_{ji} x_i, \qquad
          w_{ji} \propto L\left(s\,(i + \tfrac12) - (j + \tfrac12)\right), \qquad
          L(t) = \mathrm{sinc}(t)\, \mathrm{sinc}(t/3) \text{ for } |t| < 3

with scale :math:`s < 1` and weights that sum to 1: the filter widens with the reduction, as in
Pillow and unlike OpenCV. The centres of the images agree.

Source: the release of EfficientTrain++ resizes with Pillow's ``LANCZOS``.
"""

from __future__ import annotations

import torch
from torch import Tensor

LOBES = 3


def lanczos_resize(images: Tensor, height: int, width: int) -> Tensor:
    """Resize ``images``, shape (..., H, W), to (..., height, width), in float32 at least."""
    result = images if images.dtype == torch.float64 else images.float()
    with torch.autocast(images.device.type, enabled=False):
        if height != result.shape[-2]:
            result = _weights(result, result.shape[-2], height) @ result
        if width != result.shape[-1]:
            result = result @ _weights(result, result.shape[-1], width).mT
    return result


def _weights(like: Tensor, before: int, after: int) -> Tensor:
    """Filter matrix, shape (after, before), in the type and on the device of ``like``."""
    scale = after / before
    source = torch.arange(before, device=like.device, dtype=torch.float64) + 0.5
    target = torch.arange(after, device=like.device, dtype=torch.float64) + 0.5
    distance = scale * source - target[:, None]
    weights = torch.sinc(distance) * torch.sinc(distance / LOBES) * (distance.abs() < LOBES)
    return (weights / weights.sum(1, keepdim=True)).to(like.dtype)
