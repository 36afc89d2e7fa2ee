"""Which rank inverts the factors of which layer."""

from __future__ import annotations

from collections.abc import Sequence


def inversion_cost(shapes: Sequence[Sequence[int]]) -> int:
    """Work to invert a layer's factors: g n^3 for dense ones, g n for diagonals."""
    return sum(shape[0] * shape[1] ** (3 if len(shape) == 3 else 1) for shape in shapes)


def assign(costs: Sequence[int], ranks: int) -> list[int]:
    """Owner of every layer: the dearest first, each to the rank with the least work so far.

    No rank gets more than 4/3 - 1/(3 ranks) of what the best division gives the busiest (Graham,
    1969). Ties go to the lower rank, so that all ranks find the same division.
    """
    owners, loads = [0] * len(costs), [0] * ranks
    for layer in sorted(range(len(costs)), key=lambda i: (-costs[i], i)):
        owner = min(range(ranks), key=lambda rank: (loads[rank], rank))
        owners[layer] = owner
        loads[owner] += costs[layer]
    return owners
