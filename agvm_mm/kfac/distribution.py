"""A layer's factors over the ranks: who owns them, how they are sent, and the bytes of it all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .modules import ModuleHelper, Shape
from .solve import solution_shapes


def inversion_cost(shapes: Sequence[Shape]) -> int:
    """Work to invert a layer's factors: g n^3 for dense ones, g n for diagonals."""
    return sum(shape[0] * shape[1] ** (3 if len(shape) == 3 else 1) for shape in shapes)


def assign(costs: Sequence[int], ranks: int) -> list[int]:
    """Owner of every layer: the most expensive first, each to the rank with the least work so far.

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
    """Numbers in packed factors: g n (n + 1) / 2 for (g, n, n), g n for a diagonal (g, n)."""
    return sum(map(_packed_size, shapes))


def full_size(shapes: Sequence[Shape]) -> int:
    """Numbers in the factors themselves."""
    return sum(torch.Size(shape).numel() for shape in shapes)


def pack(factors: Sequence[Tensor]) -> Tensor:
    """All factors of a layer in one vector, lower triangles row by row."""
    return torch.cat([_pack_one(factor) for factor in factors])


def unpack(vector: Tensor, shapes: Sequence[Shape]) -> list[Tensor]:
    """Inverse of :func:`pack`."""
    parts = split_packed(vector, shapes)
    return [_unpack_one(part, shape) for part, shape in zip(parts, shapes)]


def split_packed(vector: Tensor, shapes: Sequence[Shape]) -> Sequence[Tensor]:
    """The part of each factor in a packed vector."""
    parts: Sequence[Tensor] = vector.split([_packed_size(shape) for shape in shapes])
    return parts


@dataclass(frozen=True)
class Traffic:
    """What distributing K-FAC costs, in bytes.

    Attributes:
        factors: packed factors of all layers, what one measurement sends towards their owners.
        factors_full: the same without packing, in full precision.
        control: the small vectors that accompany a measurement.
        gradients: preconditioned gradients, what every update sends from the owners.
        memory: factors and their inverses on the rank that holds most.
        memory_alone: the same on a single process.
    """

    factors: int
    factors_full: int
    control: int
    gradients: int
    memory: int
    memory_alone: int


def count_traffic(
    helpers: Sequence[ModuleHelper], owners: Sequence[int], ranks: int, half: bool, solver: str
) -> Traffic:
    """Payload of each collective, not what the library makes of it on the wire."""
    shapes = [helper.shapes for helper in helpers]
    item = [helper.dtype.itemsize for helper in helpers]
    full = [size * full_size(one) for size, one in zip(item, shapes)]
    held = [
        bytes_ + size * full_size(solution_shapes(one, solver))
        for bytes_, size, one in zip(full, item, shapes)
    ]
    by_rank = [sum(h for h, o in zip(held, owners) if o == rank) for rank in range(ranks)]
    numbers = sum(p.numel() for helper in helpers for p in helper.parameters)
    scales = sum(map(len, shapes)) if half else 0
    return Traffic(
        factors=sum(packed_size(one) * (2 if half else size) for one, size in zip(shapes, item)),
        factors_full=sum(full),
        control=8 * (1 + len(helpers) + 1 + 2 * len(helpers) + scales),
        gradients=numbers * max(item),
        memory=max(by_rank),
        memory_alone=sum(held),
    )


def _packed_size(shape: Shape) -> int:
    groups, size = shape[0], shape[1]
    return groups * (size * (size + 1) // 2 if len(shape) == 3 else size)


def _pack_one(factor: Tensor) -> Tensor:
    return factor.reshape(-1) if factor.ndim == 2 else factor.masked_select(_triangle(factor))


def _unpack_one(vector: Tensor, shape: Shape) -> Tensor:
    if len(shape) == 2:
        return vector.reshape(shape).clone()
    lower = vector.new_zeros(shape)
    lower.masked_scatter_(_triangle(lower), vector)
    return lower + lower.tril(-1).mT


def _triangle(factor: Tensor) -> Tensor:
    # A mask takes n^2 bytes, the two index vectors would take 8 n^2.
    square = torch.ones(factor.shape[-2:], dtype=torch.bool, device=factor.device)
    return square.tril().expand_as(factor)
