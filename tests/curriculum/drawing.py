"""Shapes drawn at any resolution, by which pixel centres they hold, and dots of known place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from agvm_mm.curriculum.geometry import Grid


@dataclass(frozen=True)
class Ellipse:
    """Centre and half axes in pixels of the large image."""

    x: float
    y: float
    a: float
    b: float

    @property
    def box(self) -> tuple[float, float, float, float]:
        return self.x - self.a, self.y - self.b, self.x + self.a, self.y + self.b

    def inside(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return ((x - self.x) / self.a) ** 2 + ((y - self.y) / self.b) ** 2 <= 1

    def corners(self, count: int = 64) -> np.ndarray:
        angle = 2 * np.pi * np.arange(count) / count
        points = np.stack([self.x + self.a * np.cos(angle), self.y + self.b * np.sin(angle)], 1)
        return points.reshape(-1)


@dataclass(frozen=True)
class Rectangle:
    """Sides at whole pixels of the large image."""

    box: tuple[float, float, float, float]

    def inside(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        left, top, right, bottom = self.box
        return (left <= x) & (x < right) & (top <= y) & (y < bottom)

    def corners(self) -> np.ndarray:
        left, top, right, bottom = self.box
        return np.array([left, top, right, top, right, bottom, left, bottom])


def ellipses(seed: int, size: int, least: float, count: int = 60) -> list[Ellipse]:
    """Ellipses of at least ``least`` pixels across, within an image of ``size`` pixels."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        a, b = rng.uniform(least / 2, 2.5 * least / 2, 2)
        x, y = rng.uniform(a, size - a), rng.uniform(b, size - b)
        found.append(Ellipse(x, y, a, b))
    return found


def draw(shape: Ellipse | Rectangle, size: tuple[int, int], grid: Grid | None = None) -> np.ndarray:
    """The shape on ``size`` pixels of the large image or, with ``grid``, of the small one."""
    height, width = size if grid is None else grid.after
    y, x = np.mgrid[:height, :width] + 0.5
    if grid is not None:
        (sx, sy), (tx, ty) = grid.scale, grid.shift
        x, y = (x - tx) / sx, (y - ty) / sy
    return shape.inside(x, y)


def dot(x: float, y: float, sigma: float, size: tuple[int, int]) -> Tensor:
    """A Gaussian at a point in continuous coordinates, float64."""
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    return torch.from_numpy(np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2)))


def centroid(image: Tensor) -> tuple[float, float]:
    """Centre of mass (x, y) in continuous coordinates."""
    weight = image.double() / image.double().sum()
    x = (weight.sum(0) * (torch.arange(image.shape[1]) + 0.5)).sum()
    y = (weight.sum(1) * (torch.arange(image.shape[0]) + 0.5)).sum()
    return float(x), float(y)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union."""
    return float((a & b).sum() / (a | b).sum())
