"""Weights as batches of matrices, made orthogonal here or by all ranks together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .buckets import Group
from .orthogonalize import cost, orthogonalize
from .share import computed_by_share


class Matrices(NamedTuple):
    """A weight as matrices with the shorter side first.

    Args:
        parameter: The weight.
        shape: (blocks, rows, columns) of it as it lies in memory.
        options: Steps, coefficients and eps of the iteration.
    """

    parameter: Tensor
    shape: tuple[int, int, int]
    options: tuple[int, tuple[float, ...], float]

    @classmethod
    def of(cls, parameter: Tensor, group: Group) -> Matrices:
        """A weight of a group of :class:`.muon.MuonOptimizer`."""
        options = group['ns_steps'], tuple(group['ns_coefficients']), group['eps']
        return cls(parameter, shape_of(parameter, group['blocks']), options)

    @property
    def sides(self) -> tuple[int, int]:
        """The shorter and the longer side of each matrix."""
        return min(self.shape[1:]), max(self.shape[1:])

    @property
    def cost(self) -> int:
        """Floating-point operations of its update."""
        dtype = computation_dtype(self.parameter)
        return self.shape[0] * cost(*self.sides, self.options[0], dtype)

    def view(self, direction: Tensor) -> Tensor:
        """``direction`` as (blocks, shorter side, longer side)."""
        blocks = direction.reshape(self.shape)
        return blocks.mT if self.shape[1] > self.shape[2] else blocks

    def unview(self, blocks: Tensor) -> Tensor:
        """The inverse of :meth:`view`."""
        restored = blocks.mT if self.shape[1] > self.shape[2] else blocks
        return restored.reshape(self.parameter.shape)


def computation_dtype(parameter: Tensor) -> torch.dtype:
    """The type in which a weight's matrices are multiplied."""
    if parameter.dtype == torch.float64:
        return torch.float64
    # Older GPUs emulate bfloat16, slower than float32.
    half = parameter.is_cuda and torch.cuda.get_device_capability(parameter.device) >= (8, 0)
    return torch.bfloat16 if half else torch.float32


def orthogonalized(matrices: Sequence[Matrices], directions: Mapping[int, Tensor]) -> list[Tensor]:
    """One update of each parameter's shape, in the type of the computation; shapes in batches."""
    batches: dict[Any, list[int]] = {}
    for i, entry in enumerate(matrices):
        dtype, device = computation_dtype(entry.parameter), entry.parameter.device
        batches.setdefault((entry.sides, entry.options, dtype, device), []).append(i)
    updates: list[Tensor] = [torch.empty(0)] * len(matrices)
    for (_, options, dtype, _), members in batches.items():
        chosen = [matrices[i] for i in members]
        views = [m.view(directions[id(m.parameter)]).to(dtype) for m in chosen]
        batch = orthogonalize(torch.cat(views), *options)
        for i, m, blocks in zip(members, chosen, batch.split([m.shape[0] for m in chosen])):
            updates[i] = m.unview(blocks)
    return updates


def by_share(matrices: Sequence[Matrices], directions: Mapping[int, Tensor]) -> list[Tensor]:
    """As :func:`orthogonalized`, for those with a direction; this rank computes its share."""

    def compute(pieces: list[int]) -> list[Tensor]:
        chosen = [matrices[i] for i in pieces]
        known = [m for m in chosen if id(m.parameter) in directions]
        found = dict(zip((id(m.parameter) for m in known), orthogonalized(known, directions)))
        rest = (m.parameter for m in chosen if id(m.parameter) not in found)
        found.update((id(p), torch.zeros_like(p)) for p in rest)
        return [found[id(m.parameter)] for m in chosen]

    first = matrices[0].parameter
    results = computed_by_share(
        compute,
        [m.cost for m in matrices],
        [m.parameter.shape for m in matrices],
        computation_dtype(first),
        first.device,
    )
    return [r for m, r in zip(matrices, results) if id(m.parameter) in directions]


def shape_of(parameter: Tensor, blocks: int) -> tuple[int, int, int]:
    """(blocks, rows, columns) of a weight."""
    rows = len(parameter) // blocks
    return blocks, rows, parameter.numel() // len(parameter)
