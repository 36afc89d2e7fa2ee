"""mmdet's instance masks on the small grid."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmdet.structures.mask import BitmapMasks, PolygonMasks

from .geometry import Grid, resample_masks


def move_masks(masks: Any, grid: Grid) -> Any:
    """A copy of ``BitmapMasks`` or ``PolygonMasks`` on the small grid."""
    if isinstance(masks, PolygonMasks):
        return PolygonMasks(
            [[_move_polygon(part, grid) for part in parts] for parts in masks.masks], *grid.after
        )
    return BitmapMasks(resample_masks(masks.masks, grid), *grid.after)


def _move_polygon(polygon: np.ndarray, grid: Grid) -> np.ndarray:
    """Corners x, y, x, y ..."""
    repeats = len(polygon) // 2
    return polygon * np.array(grid.scale * repeats) + np.array(grid.shift * repeats)
