"""How many estimates a run makes, and whether they are enough for AGVM's averages to settle."""

from __future__ import annotations

import logging
import math

from agvm_runs.checks import counted
from agvm_runs.settings import WHERE, AGVMSettings

from .errors import Note


def plan_of_estimates(settings: AGVMSettings, updates: int, warmup: int | None) -> Note | None:
    """When AGVM measures, in one sentence; a warning where the averages do not settle.

    Args:
        settings: of AGVM.
        updates: of the whole run.
        warmup: the update at which the warm-up of the learning rate ends; None without one.

    Returns:
        The sentence; None for a run without an estimate.
    """
    made = settings.estimation_steps(updates)
    if not made:
        return None
    needed = math.ceil(round(settings.memories / (1 - settings.momentum), 6))
    plan = (
        f'AGVM makes {counted(len(made), "estimate")}, every '
        f'{counted(settings.interval, "update")} from {made[0]} to {made[-1]} of {updates}'
    )
    if warmup is not None:
        plan += f'; the warm-up ends at update {warmup}'
    if len(made) >= needed:
        settled = made[needed - 1]
        return Note(f'{plan}; the averages settle at update {settled}.')
    return Note(
        f'{plan}. Momentum {settings.momentum} needs {needed} to settle: set '
        f'{_remedy(settings, updates, needed)}.',
        logging.WARNING,
    )


def _remedy(settings: AGVMSettings, updates: int, needed: int) -> str:
    last = updates if settings.end is None else min(updates, settings.end)
    room = last - settings.begin
    if room >= needed:
        return f'{WHERE}.interval={room // needed}'
    momentum = max(math.floor((1 - settings.memories / room) * 100) / 100, 0.0)
    return f'{WHERE}.interval=1 and momentum={momentum:g}'
