"""What a run says of its modules: one table at the start, scalars at every step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ..statistics import FactorState, ModulePartition, noise_scale
from .settings import AGVMSettings


@dataclass(frozen=True)
class ModuleRow:
    """Where a module stands: averaged phi, noise scale in images, scale and learning rate.

    NaN for what has not been measured.
    """

    name: str
    parameters: int
    phi: float
    noise_scale: float
    scale: float
    learning_rate: float


def rows(
    partition: ModulePartition,
    state: FactorState,
    images: int,
    scales: Sequence[float],
    rates: Sequence[float],
) -> list[ModuleRow]:
    """One row for every module, in the model's order.

    Args:
        partition: the modules.
        state: averages.
        images: in the batch of the last estimate; 0 if unknown.
        scales: what multiplies the modules' learning rates.
        rates: the modules' base learning rates.
    """
    columns = zip(
        partition.names,
        partition.sizes(),
        state.phi.tolist(),
        noise_scale(state.phi, images or math.nan).tolist(),
        scales,
        rates,
    )
    return [
        ModuleRow(name, size, phi, noise, scale, rate * scale)
        for name, size, phi, noise, scale, rate in columns
    ]


def start(settings: AGVMSettings, partition: ModulePartition, ranks: int, accumulation: int) -> str:
    """The modules and how they are measured, for the log."""
    lines = [
        f'AGVM: {settings.estimator} over {ranks * accumulation} sample gradients '
        f'({ranks} ranks x {accumulation} micro-batches), every {settings.interval} updates '
        f'from {settings.begin}' + ('' if settings.apply else ', measuring only')
    ]
    counts = [0] * len(partition)
    for module in partition.module_of.tolist():
        counts[module] += 1
    for name, tensors, numbers in zip(partition.names, counts, partition.sizes()):
        anchor = '  (anchor)' if name == settings.anchor else ''
        lines.append(f'  {name:<24} {tensors:>5} tensors {numbers:>12,} parameters{anchor}')
    return '\n'.join(lines)


def skipped(update: int) -> str:
    """The one warning about non-finite gradients."""
    return (
        f'AGVM: gradients were not finite at update {update}; the estimate was skipped on all '
        'ranks and the scales stay. Said once; the checkpoint counts them.'
    )


def learning_rates(
    names: Sequence[str], rates: Sequence[float], scales: Sequence[float]
) -> dict[str, float]:
    """The learning rate each module was stepped with: its highest base rate times its scale."""
    return {f'agvm/{name}.lr': rate * scale for name, rate, scale in zip(names, rates, scales)}


def estimate(
    names: Sequence[str], state: FactorState, phi_error: Tensor, images: int
) -> dict[str, float]:
    """Averaged phi, its standard error, noise scale and scale; nothing that is not finite."""
    columns = {'phi': state.phi, 'phi_se': phi_error, 'factor': state.factors}
    if images > 0:
        columns['noise_scale'] = noise_scale(state.phi, images)
    return {
        f'agvm/{key}/{name}': float(column[i])
        for key, column in columns.items()
        for i, name in enumerate(names)
        if math.isfinite(column[i])
    }
