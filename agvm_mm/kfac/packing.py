"""Symmetric factors as their lower triangles, for the wire and the checkpoint."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def packed_size(shape: Sequence[int]) -> int:
    """Numbers in a packed factor: g n (n + 1) / 2 for (g, n, n), g n for a diagonal (g, n)."""
    groups, size = shape[0], shape[1]
    return groups * (size * (size + 1) // 2 if len(shape) == 3 else size)


def full_size(shape: Sequence[int]) -> int:
    """Numbers in the factor itself."""
    return int(torch.Size(shape).numel())


def pack(factors: Sequence[Tensor]) -> Tensor:
    """All factors of a layer in one vector, triangles row by row."""
    return torch.cat([_pack_one(factor) for factor in factors])


def unpack(vector: Tensor, shapes: Sequence[Sequence[int]]) -> list[Tensor]:
    """Inverse of :func:`pack`."""
    parts = vector.split([packed_size(shape) for shape in shapes])
    return [_unpack_one(part, shape) for part, shape in zip(parts, shapes)]


def _pack_one(factor: Tensor) -> Tensor:
    return factor.reshape(-1) if factor.ndim == 2 else factor.masked_select(_triangle(factor))


def _unpack_one(vector: Tensor, shape: Sequence[int]) -> Tensor:
    if len(shape) == 2:
        return vector.reshape(tuple(shape)).clone()
    lower = vector.new_zeros(tuple(shape))
    lower.masked_scatter_(_triangle(lower), vector)
    return lower + lower.tril(-1).mT


def _triangle(factor: Tensor) -> Tensor:
    # A mask takes n^2 bytes, the two index vectors would take 8 n^2.
    square = torch.ones(factor.shape[-2:], dtype=torch.bool, device=factor.device)
    return square.tril().expand_as(factor)
