"""A task's images with their truths, and their order in a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor


class Images(Protocol):
    """Images (N, 3, H, W) in uint8, blue first, resident in memory with their truths."""

    @property
    def images(self) -> Tensor:
        """(N, 3, H, W)."""

    def take(self: T, chosen: Tensor, mirrored: Tensor) -> T:
        """A copy of the images with these indices; those that a mask names are mirrored."""

    def as_data(self) -> dict[str, Any]:
        """What a loader of MMDetection or MMSegmentation yields."""


T = TypeVar('T', bound=Images)


def stream(data: T, size: int, seed: int) -> Iterator[T]:
    """Batches of ``size`` images without end, each image mirrored with probability 1/2.

    Every image comes once before any comes again; the order depends on ``seed`` alone.
    """
    generator = torch.Generator().manual_seed(seed)
    waiting = torch.empty(0, dtype=torch.long)
    while True:
        while len(waiting) < size:
            order = torch.randperm(len(data.images), generator=generator)
            waiting = torch.cat([waiting, order])
        chosen, waiting = waiting[:size], waiting[size:]
        yield data.take(chosen, torch.rand(size, generator=generator) < 0.5)


def split(data: T, size: int) -> Iterator[T]:
    """All images once, in order, in batches of at most ``size``."""
    for chosen in torch.arange(len(data.images)).split(size):
        yield data.take(chosen, torch.zeros(len(chosen), dtype=torch.bool))
