"""Bytes on the wire and in memory, counted from the shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .layers import Layer
from .packing import full_size, packed_size


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
    layers: Sequence[Layer], owners: Sequence[int], ranks: int, half: bool, solver: str
) -> Traffic:
    """Payload of each collective, not what the library makes of it on the wire."""
    item = [layer.dtype.itemsize for layer in layers]
    packed = [sum(map(packed_size, layer.shapes)) for layer in layers]
    full = [sum(map(full_size, layer.shapes)) for layer in layers]
    held = [
        size * (full[i] + solution_size(layer, solver))
        for i, (layer, size) in enumerate(zip(layers, item))
    ]
    by_rank = [sum(h for h, o in zip(held, owners) if o == rank) for rank in range(ranks)]
    numbers = sum(p.numel() for layer in layers for p in layer.parameters)
    scales = sum(len(layer.shapes) for layer in layers) if half else 0
    return Traffic(
        factors=sum(p * (2 if half else size) for p, size in zip(packed, item)),
        factors_full=sum(f * size for f, size in zip(full, item)),
        control=8 * (1 + len(layers) + 1 + 2 * len(layers) + scales),
        gradients=numbers * max(item),
        memory=max(by_rank),
        memory_alone=sum(held),
    )


def solution_size(layer: Layer, solver: str) -> int:
    """Numbers in a layer's solution, see :func:`agvm_mm.kfac.solve.solve`."""
    return sum(full_size(shape) for shape in solution_shapes(layer, solver))


def solution_shapes(layer: Layer, solver: str) -> list[tuple[int, ...]]:
    """Shapes of a layer's solution."""
    if solver == 'cholesky' or len(layer.shapes) == 1:
        return list(layer.shapes)
    return [
        part for shape in layer.shapes for part in ((shape if len(shape) == 3 else (0,)), shape[:2])
    ]
