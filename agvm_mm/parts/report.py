"""What a run logs about its modules: one table at the start, scalars at every step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from agvm_runs.checks import counted
from agvm_runs.markdown import markdown_table
from agvm_runs.settings import AGVMSettings

from ..statistics import ModulePartition, ScaleState

QUANTITIES = ('phi', 'phi_low', 'phi_high', 'noise_scale')


@dataclass(frozen=True)
class ModuleRow:
    """The state of a module: phi with its 95 % interval, noise scale in images, scale, rate.

    What was not measured is NaN.
    """

    name: str
    parameters: int
    phi: float
    phi_low: float
    phi_high: float
    noise_scale: float
    scale: float
    learning_rate: float


def rows(
    partition: ModulePartition,
    state: ScaleState,
    phi_ends: tuple[Tensor, Tensor],
    scales: Sequence[float],
    rates: Sequence[float],
) -> list[ModuleRow]:
    """One row for every module, in the model's order.

    Args:
        partition: the modules.
        state: averages.
        phi_ends: lower and upper ends of the 95 % interval of phi, (M,) each.
        scales: what multiplies the modules' learning rates.
        rates: the modules' base learning rates.
    """
    columns = zip(
        partition.names,
        partition.sizes(),
        state.phi.tolist(),
        phi_ends[0].tolist(),
        phi_ends[1].tolist(),
        state.noise_scale.tolist(),
        scales,
        rates,
    )
    return [
        ModuleRow(name, size, phi, low, high, noise, scale, rate * scale)
        for name, size, phi, low, high, noise, scale, rate in columns
    ]


def table(rows: Sequence[ModuleRow]) -> str:
    """The rows as a Markdown table."""
    head = ('module', 'parameters', 'phi', '95 %', 'noise scale (images)', 'scale', 'lr')
    return markdown_table(head, map(_cells, rows))


def _cells(row: ModuleRow) -> list[str]:
    low, high = map(_figure, (row.phi_low, row.phi_high))
    ends = '-' if math.isnan(row.phi_low) else f'{low} to {high}'
    others = map(_figure, (row.noise_scale, row.scale, row.learning_rate))
    return [row.name, f'{row.parameters:,}', _figure(row.phi), ends, *others]


def _figure(number: float) -> str:
    return '-' if math.isnan(number) else f'{number:.3g}'


def start(
    settings: AGVMSettings,
    anchor: str,
    partition: ModulePartition,
    ranks: int,
    accumulation: int,
) -> str:
    """The modules and how they are measured, for the log."""
    lines = [
        f'AGVM: {settings.estimator} over {ranks * accumulation} sample gradients '
        f'({counted(ranks, "rank")} x {counted(accumulation, "micro-batch")}), every '
        f'{counted(settings.interval, "update")} from {settings.begin}'
        + ('' if settings.apply else ', measuring only')
    ]
    counts = [0] * len(partition)
    for module in partition.module_of.tolist():
        counts[module] += 1
    for name, tensors, numbers in zip(partition.names, counts, partition.sizes()):
        mark = '  (anchor)' if name == anchor else ''
        lines.append(f'  {name:<24} {tensors:>5} tensors {numbers:>12,} parameters{mark}')
    return '\n'.join(lines)


def without_anchor(anchor: str, update: int) -> str:
    """The warning that the anchor has no gradient."""
    return (
        f'AGVM: the anchor {anchor!r} had no gradient at update {update}; it may be frozen. '
        'Without it nothing can be measured: the scales keep their values, and phi and noise scale '
        'are not logged. This warning is given once.'
    )


def skipped(update: int) -> str:
    """The warning that an estimate was skipped."""
    return (
        f'AGVM: gradients were not finite at update {update}; the estimate was skipped on all '
        'ranks, and the scales keep their values. This warning is given once; the checkpoint '
        'counts the skipped estimates.'
    )


def learning_rates(
    names: Sequence[str], rates: Sequence[float | Tensor], scales: Sequence[float]
) -> dict[str, float | Tensor]:
    """The learning rate of each module's step: its highest base rate times its scale."""
    return {f'agvm/{name}.lr': rate * scale for name, rate, scale in zip(names, rates, scales)}


def estimate(
    names: Sequence[str], state: ScaleState, phi_ends: tuple[Tensor, Tensor], renewed: Tensor
) -> dict[str, float]:
    """Every scale, and phi, its 95 % interval and the noise scale where they were just measured.

    Values that are not finite are left out, so a module without signal has no noise scale.

    Args:
        names: of the modules.
        state: averages and scales.
        phi_ends: lower and upper ends of the 95 % interval of phi, (M,) each.
        renewed: the modules that the last estimation step measured, (M,), bool.
    """
    columns = {
        'phi': (state.phi, renewed),
        'phi_low': (phi_ends[0], renewed),
        'phi_high': (phi_ends[1], renewed),
        'noise_scale': (state.noise_scale, renewed),
        'scale': (state.scales, torch.ones_like(renewed)),
    }
    return {
        f'agvm/{key}/{name}': value
        for key, (column, shown) in columns.items()
        for name, value, show in zip(names, column.tolist(), shown.tolist())
        if show and math.isfinite(value)
    }


def outdated(names: Sequence[str], figures: Mapping[str, float]) -> list[str]:
    """Keys of :func:`estimate` that are not among ``figures``."""
    keys = (f'agvm/{key}/{name}' for key in QUANTITIES for name in names)
    return [key for key in keys if key not in figures]
