"""What a run says of its modules: one table at the start, scalars at every step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..checks import counted
from ..statistics import VarianceEstimate, noise_scale
from .lr_plan import LearningRatePlan
from .modulator import Modulator


@dataclass(frozen=True)
class ModuleRow:
    """Where a module stands: averaged phi, noise scale in images, factor and learning rate.

    NaN for what has not been measured.
    """

    name: str
    parameters: int
    phi: float
    noise_scale: float
    factor: float
    learning_rate: float


def rows(modulator: Modulator, plan: LearningRatePlan) -> list[ModuleRow]:
    """One row for every module, in the model's order."""
    phi = modulator.state.phi
    scales = noise_scale(phi, modulator.images or math.nan)
    columns = zip(
        modulator.partition.names,
        modulator.partition.sizes(),
        phi.tolist(),
        scales.tolist(),
        modulator.factors,
        plan.base_rates(len(phi)),
    )
    return [
        ModuleRow(name, size, value, scale, factor, rate * factor)
        for name, size, value, scale, factor, rate in columns
    ]


def start(modulator: Modulator, accumulative_counts: int) -> str:
    """The modules and how they are measured, for the log."""
    settings, partition = modulator.settings, modulator.partition
    ranks = modulator.collector.communicator.size
    lines = [
        f'AGVM: {settings.estimator} over {ranks * accumulative_counts} sample gradients '
        f'({counted(ranks, "rank")} x {counted(accumulative_counts, "micro-batch")}), every '
        f'{counted(settings.interval, "update")} '
        f'from {settings.begin}' + ('' if settings.apply else ', measuring only')
    ]
    counts = [0] * len(partition)
    for module in partition.module_of.tolist():
        counts[module] += 1
    for name, tensors, numbers in zip(partition.names, counts, partition.sizes()):
        anchor = '  (anchor)' if name == settings.anchor else ''
        lines.append(f'  {name:<24} {tensors:>5} tensors {numbers:>12,} parameters{anchor}')
    return '\n'.join(lines)


def skipped(modulator: Modulator) -> str:
    """The one warning about non-finite gradients."""
    return (
        f'AGVM: gradients were not finite at update {modulator.update}; the estimate was skipped '
        'on all ranks and the factors stay. Said once; the checkpoint counts them.'
    )


def learning_rates(modulator: Modulator, plan: LearningRatePlan) -> dict[str, float]:
    """The learning rate each module was stepped with: its highest base rate times the factor."""
    names = modulator.partition.names
    rates = plan.base_rates(len(names))
    return {
        f'{name}.lr': rate * factor for name, rate, factor in zip(names, rates, modulator.factors)
    }


def estimate(modulator: Modulator, found: VarianceEstimate) -> dict[str, float]:
    """Averaged phi, its standard error, noise scale and factor; nothing that is not finite."""
    columns = {
        'phi': modulator.state.phi,
        'phi_se': modulator.phi_error,
        'factor': modulator.state.factors,
    }
    if found.images > 0:
        columns['noise_scale'] = noise_scale(modulator.state.phi, found.images)
    return {
        f'{key}/{name}': float(column[i])
        for key, column in columns.items()
        for i, name in enumerate(modulator.partition.names)
        if math.isfinite(column[i])
    }
