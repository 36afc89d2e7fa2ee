r"""Where ground truth lies in a cropped image.

In continuous coordinates, pixel i covering :math:`[i, i + 1]`, a point moves with its content:

.. math:: x' = s\,x + t, \qquad t = 0 \text{ (center)}, \quad t = (1 - s)/2 \text{ (corner)}

Masks and semantic maps are drawn anew on the small grid: a small pixel gets the label that covers
most of it (center), or the one at its grid point (corner). Labels are never mixed, so the ignore
label stays what it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


@dataclass(frozen=True)
class Grid:
    """The pixels of an image before and after a crop.

    Args:
        before: (height, width) of the image.
        after: (height, width) of the small image.
        align: 'center' or 'corner', as for :func:`.lowpass.fourier_crop`.
    """

    before: tuple[int, int]
    after: tuple[int, int]
    align: str = 'center'

    @property
    def scale(self) -> tuple[float, float]:
        """(x, y), the ratio of coordinates in the small image to those in the image."""
        return self.after[1] / self.before[1], self.after[0] / self.before[0]

    @property
    def shift(self) -> tuple[float, float]:
        """(x, y) added after scaling, in small pixels."""
        if self.align == 'center':
            return 0.0, 0.0
        x, y = self.scale
        return (1 - x) / 2, (1 - y) / 2


def move_points(points: Tensor, grid: Grid) -> Tensor:
    """Points ``(..., 2 n)`` as x, y, x, y ...; a box is two points."""
    repeats = points.shape[-1] // 2
    return points * points.new_tensor(grid.scale * repeats) + points.new_tensor(
        grid.shift * repeats
    )


def resample_masks(masks: npt.NDArray[np.uint8], grid: Grid) -> npt.NDArray[np.uint8]:
    """Binary masks, shape (N, H, W), on the small grid: (N, h, w), uint8."""
    small = np.empty((len(masks), *grid.after), dtype=np.uint8)
    for index, mask in enumerate(masks):  # one at a time: all of them as floats fill gigabytes
        small[index] = _covers(torch.from_numpy(np.ascontiguousarray(mask)) > 0, grid).numpy()
    return small


def resample_labels(labels: Tensor, grid: Grid) -> Tensor:
    """A map of labels, shape (..., H, W), on the small grid: (..., h, w), the same type."""
    if grid.align == 'corner':
        rows, columns = (_nearest(*sizes) for sizes in zip(grid.before, grid.after))
        return labels[..., rows.to(labels.device)[:, None], columns.to(labels.device)]
    found = labels.unique()
    small = labels.new_full((*labels.shape[:-2], *grid.after), int(found[0]))
    most = torch.zeros(small.shape, device=labels.device)
    for label in found:
        coverage = _coverage(labels == label, grid)
        small = torch.where(coverage > most, label, small)
        most = torch.maximum(most, coverage)
    return small


def _covers(mask: Tensor, grid: Grid) -> Tensor:
    if grid.align == 'corner':
        return resample_labels(mask, grid)
    return _coverage(mask, grid) >= 0.5


def _coverage(region: Tensor, grid: Grid) -> Tensor:
    """How much of a small pixel's surroundings lies in a region, shape (..., H, W), bool."""
    stacked = region.reshape(-1, 1, *grid.before).float()
    with torch.autocast(region.device.type, enabled=False):
        small = F.interpolate(stacked, grid.after, mode='bilinear', antialias=True)
    return small.reshape(*region.shape[:-2], *grid.after)


def _nearest(before: int, after: int) -> Tensor:
    """The pixel next to each grid point of the corner-aligned small image."""
    return (torch.arange(after) * (before / after)).round().long().clamp(max=before - 1)
