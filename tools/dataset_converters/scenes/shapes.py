"""The outlines of the thing classes. A class is a shape: colour and texture say nothing of it."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Outline = NDArray[np.float64]

_FRACTION_BITS = 4  # cv2 takes sub-pixel corners as fixed-point integers


def _star_outline(radii: tuple[float, ...], corners: int) -> Outline:
    """Corners on circles whose radii alternate, the first one at the top.

    Args:
        radii: Radii that the corners take in turn, in sides of the unit square.
        corners: Number of corners.

    Returns:
        Corners, shape (corners, 2), x before y.
    """
    angles = 2 * np.pi * np.arange(corners) / corners - np.pi / 2
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    outline: Outline = np.resize(radii, corners)[:, None] * directions
    return outline


def _cross_outline(arm: float) -> Outline:
    """A plus sign.

    Args:
        arm: Half the width of an arm, in sides of the unit square.

    Returns:
        Corners, shape (12, 2), x before y.
    """
    quarter = np.array([(arm, -0.5), (arm, -arm), (0.5, -arm)])
    turn = np.array([(0.0, 1.0), (-1.0, 0.0)])
    return np.concatenate([quarter @ np.linalg.matrix_power(turn, k) for k in range(4)])


OUTLINES: dict[str, tuple[Outline, ...]] = {
    'circle': (_star_outline((0.5,), 48),),
    'square': (np.array([(-0.45, -0.45), (0.45, -0.45), (0.45, 0.45), (-0.45, 0.45)]),),
    'triangle': (np.array([(0.0, -0.5), (0.5, 0.4), (-0.5, 0.4)]),),
    'star': (_star_outline((0.5, 0.22), 10),),
    'cross': (_cross_outline(0.16),),
    'ring': (_star_outline((0.5,), 48), _star_outline((0.27,), 48)),
}
"""Outlines of each thing class in a square of side 1 about the origin; a second one is a hole."""


def blob_outline(rng: np.random.Generator) -> Outline:
    """A jagged outline that is none of the thing classes.

    Args:
        rng: Source of the outline.

    Returns:
        Corners in a square of side 1, shape (7 to 11, 2), x before y.
    """
    corners = int(rng.integers(7, 12))
    return _star_outline(tuple(rng.uniform(0.15, 0.5, corners)), corners)


class Patch(NamedTuple):
    """A shape and the part of the image around it.

    Attributes:
        window: Rows and columns of the image; indexing with it gives a view.
        mask: Whether a pixel belongs to the shape, shape of the window.
    """

    window: tuple[slice, slice]
    mask: NDArray[np.bool_]


def place_outlines(
    outlines: tuple[Outline, ...],
    image_size: tuple[int, int],
    centre: tuple[float, float],
    extent: tuple[float, float],
    angle: float,
) -> Patch:
    """The pixels of a shape, cut off at the border of the image.

    Args:
        outlines: Outlines in a square of side 1; where two cover each other is a hole.
        image_size: Height and width of the image in pixels.
        centre: Centre of the shape within the image, x and y in pixels.
        extent: Width and height of the shape in pixels, before it is turned.
        angle: Turn of the shape, clockwise, in radians.

    Returns:
        The shape and the part of the image around it.
    """
    turn = np.array([(np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))])
    corners = [(outline * extent) @ turn + centre for outline in outlines]
    height, width = image_size
    left, top = np.maximum(np.floor(corners[0].min(axis=0)).astype(int), 0)
    right, bottom = np.minimum(np.ceil(corners[0].max(axis=0)).astype(int) + 1, (width, height))
    fixed_point = [
        np.rint((points - (left, top)) * 2**_FRACTION_BITS).astype(np.int32) for points in corners
    ]
    mask = np.zeros((bottom - top, right - left), dtype=np.uint8)
    cv2.fillPoly(mask, fixed_point, (1,), shift=_FRACTION_BITS)
    return Patch((slice(top, bottom), slice(left, right)), mask.astype(np.bool_))
