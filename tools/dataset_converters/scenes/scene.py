"""One scene: textured objects that overlap on a cluttered background, with every pixel labelled."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from . import textures
from .classes import CLASSES, STUFF_CLASSES, THING_CLASSES
from .shapes import OUTLINES, Outline, Patch, blob_outline, place_outlines

_SMALLEST_OBJECT = 8  # pixels along a side, before it is stretched and turned
_LARGEST_OBJECT = 0.7  # of the shorter side of the image: half of a square image's area
_LEAST_AREA = 16  # visible pixels of an object; even the smallest has more when it is drawn
_LEAST_VISIBLE = 0.3  # visible part of an object
_LEAST_CONTRAST = 60  # mean difference from what an object covers, on the scale of 255
_LAYOUTS = (('sky', 'grass'), ('sky', 'brick'), ('brick', 'grass'))
_TRIES = 20  # places tried for one object before the scene counts as full


@dataclass(frozen=True)
class Scene:
    """An image and the segment that each of its pixels belongs to.

    Attributes:
        image: Blue, green and red, shape (height, width, 3).
        segments: 0 where a pixel is void, otherwise 1 + its index in ``labels``, shape
            (height, width).
        labels: Class index of each segment in ``CLASSES``: first every stuff class once, even
            where none of it is visible, then the objects from back to front.
    """

    image: NDArray[np.uint8]
    segments: NDArray[np.int32]
    labels: tuple[int, ...]


class _Canvas:
    """A scene while it is painted, from back to front."""

    def __init__(self, rng: np.random.Generator, size: tuple[int, int]) -> None:
        self.rng = rng
        self.size = size
        self.pixels = np.zeros((*size, 3), dtype=np.float32)
        self.segments = np.zeros(size, dtype=np.int32)
        self.labels = [CLASSES.index(name) for name in STUFF_CLASSES]
        self._least_areas = [0.0] * (1 + len(STUFF_CLASSES))  # of void and of every segment

    def paint_stuff(self, name: str, region: NDArray[np.bool_]) -> None:
        """Cover a region, shape (height, width), with a stuff class."""
        texture = textures.draw_texture(self.rng, *textures.STUFF_TEXTURES[name], *self.size)
        self.pixels[region] = texture[region]
        self.segments[region] = 1 + STUFF_CLASSES.index(name)

    def paint_clutter(self) -> None:
        """Cover a jagged blob with what has no class."""
        extent = self.rng.uniform(0.05, 0.25) * min(self.size)
        patch = self._place((blob_outline(self.rng),), extent, margin=0.0)
        self._cover(patch, self._texture(patch, textures.CLUTTER_COLOURS), segment=0)

    def paint_twig(self) -> None:
        """Draw a thin line, which leaves the class below it as it is."""
        height, width = self.size
        x, y = self.rng.uniform((0, 0), (width, height))
        length, angle = self.rng.uniform(0.05, 0.3) * min(self.size), self.rng.uniform(0, np.pi)
        ends = [(x, y), (x + length * np.cos(angle), y + length * np.sin(angle))]
        start, end = np.rint(ends).astype(int).tolist()
        colour = textures.draw_colour(self.rng, textures.CLUTTER_COLOURS).tolist()
        cv2.line(self.pixels, start, end, colour, int(self.rng.integers(1, 3)))

    def paint_object(self) -> bool:
        """Add an object that neither hides an earlier one nor is hard to see itself.

        Returns:
            Whether there was room for one.
        """
        label = int(self.rng.integers(len(THING_CLASSES)))
        largest = max(_LARGEST_OBJECT * min(self.size), _SMALLEST_OBJECT)
        for _ in range(_TRIES):
            extent = self.rng.uniform(_SMALLEST_OBJECT**0.5, largest**0.5) ** 2
            patch = self._place(OUTLINES[THING_CLASSES[label]], extent, margin=0.25)
            if not self._leaves_room(patch):
                continue
            texture = self._texture(patch, textures.OBJECT_COLOURS)
            if np.abs(texture - self.pixels[patch.window][patch.mask]).mean() < _LEAST_CONTRAST:
                continue
            self.labels.append(label)
            self._cover(patch, texture, segment=len(self.labels))
            area = np.count_nonzero(patch.mask)
            self._least_areas.append(max(_LEAST_AREA, _LEAST_VISIBLE * area))
            return True
        return False

    def _place(self, outlines: tuple[Outline, ...], extent: float, margin: float) -> Patch:
        """A shape at a random place, its centre ``margin`` of its extent off the border."""
        height, width = self.size
        aspect = np.exp(self.rng.uniform(-0.15, 0.15))
        x = self.rng.uniform(margin * extent, width - margin * extent)
        y = self.rng.uniform(margin * extent, height - margin * extent)
        angle = self.rng.uniform(-0.3, 0.3)
        extents = (extent * aspect, extent / aspect)
        return place_outlines(outlines, self.size, (x, y), extents, angle)

    def _texture(self, patch: Patch, colours: textures.ColourRange) -> textures.Texture:
        """A random texture for the pixels of a shape, shape (pixels, 3)."""
        pattern = textures.OBJECT_PATTERNS[self.rng.integers(len(textures.OBJECT_PATTERNS))]
        return textures.draw_texture(self.rng, pattern, colours, *patch.mask.shape)[patch.mask]

    def _cover(self, patch: Patch, texture: textures.Texture, segment: int) -> None:
        self.pixels[patch.window][patch.mask] = texture
        self.segments[patch.window][patch.mask] = segment

    def _leaves_room(self, patch: Patch) -> bool:
        """Whether every earlier object would still be recognisable."""
        segments = len(self._least_areas)
        covered = self.segments[patch.window][patch.mask]
        left = np.bincount(self.segments.ravel(), minlength=segments)
        left -= np.bincount(covered, minlength=segments)
        return bool((left >= self._least_areas).all())


def _paint_background(canvas: _Canvas) -> None:
    """Sky or wall above a wavy horizon, grass or wall below it, and now and then a wall between."""
    rng, (height, width) = canvas.rng, canvas.size
    rows = np.arange(height)[:, None]
    wave = textures.smooth_noise(rng, 1, width, 6)[0] - 0.5
    horizon = height * (rng.uniform(0.2, 0.8) + 0.25 * wave)
    above, below = _LAYOUTS[rng.choice(len(_LAYOUTS), p=(0.7, 0.15, 0.15))]
    canvas.paint_stuff(above, np.broadcast_to(rows < horizon, canvas.size))
    canvas.paint_stuff(below, np.broadcast_to(rows >= horizon, canvas.size))
    if 'brick' not in (above, below) and rng.random() < 0.6:
        left, right = np.sort(rng.uniform(-0.2, 1.2, 2)) * width
        top = rng.uniform(0, 0.9) * horizon.min()
        columns = np.arange(width)
        wall = (rows >= top) & (rows < horizon) & (columns >= left) & (columns < right)
        canvas.paint_stuff('brick', wall)


def _photograph(rng: np.random.Generator, pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Uneven light, the blur of a lens and the noise of a sensor."""
    height, width = pixels.shape[:2]
    light = 0.75 + 0.4 * textures.smooth_noise(rng, height, width, 2)
    blurred = cv2.GaussianBlur(pixels * light[..., None], (3, 3), rng.uniform(0.4, 0.8))
    noise = rng.standard_normal(pixels.shape, dtype=np.float32) * rng.uniform(2, 6)
    return np.clip(np.rint(blurred + noise), 0, 255).astype(np.uint8)


def draw_scene(
    rng: np.random.Generator,
    size: tuple[int, int],
    objects: tuple[int, int] = (2, 8),
    empty: float = 0.02,
) -> Scene:
    """Draw a scene.

    Objects span about 8 pixels to 0.7 of the shorter side, small ones more often. Each keeps at
    least 16 pixels and 30 % of itself visible, so whatever shows of a thing class can be labelled.

    Args:
        rng: Source of the scene.
        size: Height and width of the image in pixels, each 32 or more.
        objects: Least and greatest number of objects; fewer are drawn where no more fit.
        empty: Probability that there is no object at all.

    Returns:
        The scene.
    """
    canvas = _Canvas(rng, size)
    _paint_background(canvas)
    for _ in range(rng.integers(4, 16)):
        canvas.paint_twig()
    for _ in range(rng.integers(0, 5)):
        canvas.paint_clutter()
    wanted = 0 if rng.random() < empty else int(rng.integers(objects[0], objects[1] + 1))
    for _ in range(wanted):
        if not canvas.paint_object():
            break
    return Scene(_photograph(rng, canvas.pixels), canvas.segments, tuple(canvas.labels))
