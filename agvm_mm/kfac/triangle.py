"""Symmetric matrices of which only the lower triangle is computed and sent, block by block.

A block row of the triangle ends at the diagonal, so that a product takes half the work of a full
one plus the blocks on the diagonal. What lies above the diagonal is undefined until :func:`mirror`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import torch
from torch import Tensor

BLOCK = 256
"""Rows of a block: few enough to save half the work, enough for a fast product."""


def rows(size: int) -> Iterator[tuple[int, int]]:
    """First and last row of every block, the last one excluded."""
    for start in range(0, size, BLOCK):
        yield start, min(start + BLOCK, size)


def add_product(total: Tensor, columns: Tensor, weight: float) -> None:
    """Add ``weight columns columns^T`` to the lower triangle of a total (g, n, n), in place.

    Args:
        total: changed in place.
        columns: (g, n, positions).
        weight: of the product.
    """
    for start, end in rows(total.shape[-1]):
        left, right = columns[:, start:end], columns[:, :end].mT
        total[:, start:end, :end].baddbmm_(left, right, alpha=weight)


def mirror(square: Tensor) -> Tensor:
    """Copy the lower triangle of (g, n, n) above the diagonal, in place."""
    for start, end in rows(square.shape[-1]):
        square[:, :start, start:end] = square[:, start:end, :start].mT
        diagonal = square[:, start:end, start:end]
        diagonal.copy_(diagonal.tril() + diagonal.tril(-1).mT)
    return square


def pack(square: Tensor) -> Tensor:
    """The lower triangle of (g, n, n) as a vector, block row by block row."""
    parts = []
    for start, end in rows(square.shape[-1]):
        parts.append(square[:, start:end, :start].reshape(-1))
        diagonal = square[:, start:end, start:end].flatten(1)
        parts.append(diagonal.index_select(1, _entries(end - start, square.device)).reshape(-1))
    return torch.cat(parts)


def unpack(vector: Tensor, square: Tensor) -> None:
    """Inverse of :func:`pack`, with both triangles, into ``square``."""
    groups, size = square.shape[:2]
    blocks = list(rows(size))
    sizes = [
        groups * count for a, b in blocks for count in ((b - a) * a, (b - a) * (b - a + 1) // 2)
    ]
    parts = iter(vector.split(sizes))
    for start, end in blocks:
        height = end - start
        square[:, start:end, :start] = next(parts).view(groups, height, start)
        diagonal = vector.new_zeros(groups, height * height)
        entries = _entries(height, vector.device)
        diagonal.index_copy_(1, entries, next(parts).view(groups, -1))
        square[:, start:end, start:end] = diagonal.view(groups, height, height)
    mirror(square)


@lru_cache(maxsize=256)
def _entries(size: int, device: torch.device) -> Tensor:
    """Places of the lower triangle in a flat square; a mask would make the host wait."""
    row, column = torch.tril_indices(size, size, device=device)
    places: Tensor = row * size + column
    return places
