"""A layer's factors over the ranks: who owns them and how they are sent."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from . import triangle
from .blocks import Shape, block_sizes, blocks


def inversion_cost(shapes: Sequence[Shape]) -> int:
    """Work to invert a layer's factors: g n m^2 for one in blocks of m, g n for a diagonal."""
    return sum(s[0] * s[1] * (s[2] ** 2 if len(s) == 3 else 1) for s in shapes)


def preconditioning_cost(shapes: Sequence[Shape]) -> int:
    """Multiplications of a gradient r x c with its solution: g r c (m_A + m_G); 4 c of a norm."""
    if len(shapes) == 1:
        return full_size(shapes)
    a, g = shapes
    return a[0] * a[1] * g[1] * sum(s[2] if len(s) == 3 else 1 for s in shapes)


def owning_cost(shapes: Sequence[Shape], updates: int) -> int:
    """Work of a layer's owner from one inversion to the next: it preconditions in ``updates``."""
    return inversion_cost(shapes) + updates * preconditioning_cost(shapes)


def assign(costs: Sequence[int], ranks: int) -> list[int]:
    """Owner of every layer, on as few ranks as keep the work of the busiest.

    Every owner sends messages of its own, so that more of them than help would only cost latency.
    """
    best = _greedy(costs, min(ranks, len(costs)))
    for fewer in range(1, min(ranks, len(costs))):
        found = _greedy(costs, fewer)
        if _busiest(found, costs) <= _busiest(best, costs):
            return found
    return best


def _busiest(owners: Sequence[int], costs: Sequence[int]) -> int:
    loads = [0] * (max(owners) + 1)
    for owner, cost in zip(owners, costs):
        loads[owner] += cost
    return max(loads)


def _greedy(costs: Sequence[int], ranks: int) -> list[int]:
    """The most expensive layer first, each to the rank with the least work so far.

    No rank gets more than 4/3 - 1/(3 ranks) of what the best division gives the busiest (Graham,
    1969). Ties go to the lower rank, so that all ranks find the same division.
    """
    owners, loads = [0] * len(costs), [0] * ranks
    for layer in sorted(range(len(costs)), key=lambda i: (-costs[i], i)):
        owner = min(range(ranks), key=lambda rank: (loads[rank], rank))
        owners[layer] = owner
        loads[owner] += costs[layer]
    return owners


def packed_size(shapes: Sequence[Shape]) -> int:
    """Numbers in packed factors: g k (k + 1) / 2 for a block of k rows, g n for a diagonal."""
    return sum(map(_packed_size, shapes))


def full_size(shapes: Sequence[Shape]) -> int:
    """Numbers in the factors themselves."""
    return sum(torch.Size(shape).numel() for shape in shapes)


def pack(factors: Sequence[Tensor]) -> Tensor:
    """All factors of a layer in one vector, of a dense one the lower triangle of every block."""
    return torch.cat([_pack_one(factor) for factor in factors])


def unpack(vector: Tensor, shapes: Sequence[Shape]) -> list[Tensor]:
    """Inverse of :func:`pack`."""
    parts = split_packed(vector, shapes)
    return [_unpack_one(part, shape) for part, shape in zip(parts, shapes)]


def split_packed(vector: Tensor, shapes: Sequence[Shape]) -> Sequence[Tensor]:
    """The part of each factor in a packed vector."""
    parts: Sequence[Tensor] = vector.split([_packed_size(shape) for shape in shapes])
    return parts


def _packed_size(shape: Shape) -> int:
    if len(shape) == 2:
        return shape[0] * shape[1]
    return shape[0] * sum(size * (size + 1) // 2 for size in block_sizes(shape))


def _pack_one(factor: Tensor) -> Tensor:
    if factor.ndim == 2:
        return factor.reshape(-1)
    return torch.cat([triangle.pack(block) for block in blocks(factor)])


def _unpack_one(vector: Tensor, shape: Shape) -> Tensor:
    if len(shape) == 2:
        return vector.reshape(shape).clone()
    factor = vector.new_zeros(shape)
    squares = blocks(factor)
    sizes = [_packed_size(tuple(square.shape)) for square in squares]
    for square, part in zip(squares, vector.split(sizes)):
        triangle.unpack(part, square)
    return factor
