"""Textures: a pattern in [0, 1] blends two colours of one family."""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Pattern = NDArray[np.float32]
PatternMaker = Callable[[np.random.Generator, int, int], Pattern]
Texture = NDArray[np.float32]


def smooth_noise(rng: np.random.Generator, height: int, width: int, cells: int) -> Pattern:
    """Noise that varies over a grid of cells.

    Args:
        rng: Source of the noise.
        height: Height in pixels.
        width: Width in pixels.
        cells: Number of grid points along each side.

    Returns:
        Values in [0, 1], shape (height, width).
    """
    grid = rng.random((cells, cells), dtype=np.float32)
    resized = cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(resized, 0, 1).astype(np.float32)


def _along(rng: np.random.Generator, height: int, width: int, angle: float) -> Pattern:
    """Distance in pixels along a direction, from a random start."""
    rows = np.sin(angle) * np.arange(height)[:, None]
    columns = np.cos(angle) * np.arange(width)
    distance: Pattern = (rows + columns + rng.uniform(0, 100)).astype(np.float32)
    return distance


def _plain(rng: np.random.Generator, height: int, width: int) -> Pattern:
    return np.zeros((height, width), dtype=np.float32)


def _shaded(rng: np.random.Generator, height: int, width: int) -> Pattern:
    return smooth_noise(rng, height, width, 3)


def _striped(rng: np.random.Generator, height: int, width: int) -> Pattern:
    period = rng.uniform(4, 10)
    distance = _along(rng, height, width, rng.uniform(0, np.pi))
    return (distance % period < period / 2).astype(np.float32)


def _chequered(rng: np.random.Generator, height: int, width: int) -> Pattern:
    period = rng.uniform(5, 12)
    angle = rng.uniform(0, np.pi / 2)
    one, other = (
        _along(rng, height, width, direction) % period < period / 2
        for direction in (angle, angle + np.pi / 2)
    )
    return (one ^ other).astype(np.float32)


def _speckled(rng: np.random.Generator, height: int, width: int) -> Pattern:
    return rng.random((height, width), dtype=np.float32)


def _sky(rng: np.random.Generator, height: int, width: int) -> Pattern:
    ramp = np.linspace(0, 0.6, height, dtype=np.float32)[:, None]
    return ramp + 0.4 * smooth_noise(rng, height, width, 5)


def _grass(rng: np.random.Generator, height: int, width: int) -> Pattern:
    blades = cv2.blur(rng.random((height, width), dtype=np.float32), (1, 5))
    contrast = np.clip(2.5 * (blades - 0.5) + 0.5, 0, 1)
    return (0.7 * contrast + 0.3 * smooth_noise(rng, height, width, 8)).astype(np.float32)


def _brick(rng: np.random.Generator, height: int, width: int) -> Pattern:
    course = int(rng.integers(7, 13))
    brick = 2 * course
    rows = np.arange(height)[:, None] + int(rng.integers(course))
    columns = np.arange(width) + int(rng.integers(brick)) + rows // course % 2 * course
    mortar = (rows % course < 2) | (columns % brick < 2)
    stain = 0.35 * smooth_noise(rng, height, width, 12)
    return np.where(mortar, np.float32(1), stain).astype(np.float32)


class ColourRange(NamedTuple):
    """Ranges of hue, saturation and value, each within [0, 1]."""

    hue: tuple[float, float]
    saturation: tuple[float, float]
    value: tuple[float, float]


OBJECT_PATTERNS: tuple[PatternMaker, ...] = (_plain, _shaded, _striped, _chequered, _speckled)
"""Patterns of objects and of clutter, whatever the shape."""

OBJECT_COLOURS = ColourRange((0, 1), (0.6, 1), (0.55, 1))
CLUTTER_COLOURS = ColourRange((0, 1), (0, 0.4), (0.15, 0.9))

STUFF_TEXTURES: dict[str, tuple[PatternMaker, ColourRange]] = {
    'sky': (_sky, ColourRange((0.5, 0.68), (0.05, 0.35), (0.6, 0.95))),
    'grass': (_grass, ColourRange((0.15, 0.38), (0.15, 0.45), (0.25, 0.6))),
    'brick': (_brick, ColourRange((-0.04, 0.1), (0.1, 0.4), (0.3, 0.65))),
}
"""Pattern and colours of each stuff class."""


def draw_colour(rng: np.random.Generator, colours: ColourRange) -> NDArray[np.float32]:
    """A colour from a range.

    Args:
        rng: Source of the colour.
        colours: Range that the colour lies in.

    Returns:
        Blue, green and red in [0, 255], shape (3,).
    """
    hue, saturation, value = (rng.uniform(low, high) for low, high in colours)
    return np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value)[::-1], dtype=np.float32) * 255


def draw_texture(
    rng: np.random.Generator, pattern: PatternMaker, colours: ColourRange, height: int, width: int
) -> Texture:
    """A pattern between a colour and a darker or lighter shade of it.

    Args:
        rng: Source of the texture.
        pattern: Maker of the pattern.
        colours: Range that the colour lies in.
        height: Height in pixels.
        width: Width in pixels.

    Returns:
        Blue, green and red in [0, 255], shape (height, width, 3).
    """
    colour = draw_colour(rng, colours)
    shade = colour * rng.uniform(0.55, 0.8) if rng.random() < 0.5 else 255 - 0.7 * (255 - colour)
    weight = pattern(rng, height, width)[..., None]
    return colour + weight * (shade.astype(np.float32) - colour)
