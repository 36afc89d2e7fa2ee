"""What a run says of its modules: one table at the start, scalars at every step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from .lr_plan import LearningRatePlan
from .modulator import Modulator

QUANTITIES = ('phi', 'phi_se', 'noise_scale')


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
    columns = zip(
        modulator.partition.names,
        modulator.partition.sizes(),
        phi.tolist(),
        modulator.state.noise_scale.tolist(),
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
        f'({ranks} ranks x {accumulative_counts} micro-batches), every {settings.interval} updates '
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


def estimate(modulator: Modulator) -> dict[str, float]:
    """Averaged phi, its standard error and noise scale, of what was just measured; factors.

    A module that the last estimation step did not measure has its factor alone, and a value that is
    not finite is left out: so has a module without signal no noise scale.
    """
    state, renewed = modulator.state, modulator.renewed
    columns = {
        'phi': (state.phi, renewed),
        'phi_se': (modulator.phi_error, renewed),
        'noise_scale': (state.noise_scale, renewed),
        'factor': (state.factors, torch.ones_like(renewed)),
    }
    names = modulator.partition.names
    return {
        f'{key}/{name}': value
        for key, (column, shown) in columns.items()
        for name, value, show in zip(names, column.tolist(), shown.tolist())
        if show and math.isfinite(value)
    }


def outdated(modulator: Modulator, figures: Mapping[str, float]) -> list[str]:
    """What :func:`estimate` once gave and is not among ``figures`` now."""
    keys = (f'{key}/{name}' for key in QUANTITIES for name in modulator.partition.names)
    return [key for key in keys if key not in figures]
