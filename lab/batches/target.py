"""Updates and CPU time to a fixed score, from the curves of finished runs."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from .cells import Cell


class Cost(NamedTuple):
    """What a score takes.

    Args:
        updates: optimizer updates.
        seconds: CPU seconds of training.
    """

    updates: float
    seconds: float


def cost_of(curve: Sequence[Sequence[float]], batch: int, target: float) -> Cost | None:
    """The cost of the first crossing of ``target``, linear between points; None without one.

    Args:
        curve: [images, CPU seconds, score] at several points of a run; it begins at 0, 0, 0.
        batch: images of an update.
        target: score to reach.
    """
    before: Sequence[float] = (0.0, 0.0, 0.0)
    for point in curve:
        if point[2] >= target:
            share = (target - before[2]) / (point[2] - before[2])
            images, seconds = (a + share * (b - a) for a, b in zip(before[:2], point[:2]))
            return Cost(images / batch, seconds)
        before = point
    return None


def costs(
    cells: Sequence[Cell], folder: Path, seeds: Sequence[int], target: float
) -> Mapping[Cell, Cost | None]:
    """The mean cost over seeds of the cells with results; None where a seed misses the target."""
    found: dict[Cell, Cost | None] = {}
    for cell in cells:
        own = [cost_of(one['curve'], cell.batch, target) for one in cell.scores(folder, seeds)]
        if own:
            known = [cost for cost in own if cost is not None]
            missed = len(known) < len(own)
            found[cell] = None if missed else Cost(*map(statistics.fmean, zip(*known)))
    return found
