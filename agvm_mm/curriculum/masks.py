"""mmdet's instance masks on the small grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from mmdet.structures.mask import BitmapMasks, PolygonMasks

from .geometry import Grid, resample_masks


def move_masks(masks: Any, grid: Grid) -> Any:
    """A copy of ``BitmapMasks`` or ``PolygonMasks`` on the small grid."""
    if isinstance(masks, PolygonMasks):
        return PolygonMasks(
            [[_move_polygon(part, grid) for part in parts] for parts in masks.masks], *grid.after
        )
    return BitmapMasks(resample_masks(masks.masks, grid), *grid.after)


def _move_polygon(polygon: npt.NDArray[np.float64], grid: Grid) -> npt.NDArray[np.float64]:
    """Corners x, y, x, y ..."""
    scale, shift = np.asarray([grid.scale, grid.shift], dtype=np.float64)
    moved: npt.NDArray[np.float64] = (polygon.reshape(-1, 2) * scale + shift).reshape(-1)
    return moved
