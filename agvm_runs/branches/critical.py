r"""The critical batch of branches: the largest whose loss is that of the smallest batch.

Branches of one seed see the same images in the same order at every batch, so their losses are
compared in pairs. With the losses :math:`L_{b, s}` of batch b and seed s, the smallest batch a and
the tolerance r,

.. math::
   d_{b, s} = L_{b, s} - L_{a, s}, \qquad
   \bar d_b \pm t_{n - 1}\, \mathrm{sd}_s(d_{b, s}) / \sqrt n, \qquad
   b^* = \max \{ b : \bar d_{b'} \le r\, \bar L_a \ \text{for all}\ a \le b' \le b \} .

The interval of b* uses the upper ends of the differences for its lower end, and the lower ends for
its upper end. The update of a large batch comes late, so its loss was measured, on average, half a
batch of images earlier than that of a small one.

Source: Merrill et al., "Critical Batch Size Revisited", 2025, arXiv:2505.23971, section 3.1, which
has one branch a batch, compares it with every smaller one, smooths exponentially and allows 0.01.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..quantiles import student_quantile
from ..work_dir import FileError
from .kept import Branch

FEWEST = 3  # seeds of an interval


@dataclass(frozen=True)
class Level:
    """All branches of one batch.

    Args:
        factor: the multiple of the batch of the recipe.
        batch: images of an update.
        updates: of a branch.
        rate: learning rate.
        losses: by seed, in order; infinite where a branch diverged.
        difference: mean difference of the loss to the smallest batch.
        low: lower end of its 95 % interval; NaN below three seeds.
        high: upper end.
    """

    factor: int
    batch: int
    updates: int
    rate: float
    losses: tuple[float, ...]
    difference: float
    low: float
    high: float

    @property
    def loss(self) -> float:
        """The mean over seeds."""
        return statistics.fmean(self.losses)


@dataclass(frozen=True)
class Critical:
    """The critical batch in images; ``low`` and ``high`` are None below three seeds.

    Args:
        batch: the largest tested one within the tolerance.
        low: lower end of its 95 % interval.
        high: upper end.
        largest: the largest tested batch; an end that equals it is open.
    """

    batch: int
    low: int | None
    high: int | None
    largest: int


def levels(branches: Sequence[Branch]) -> list[Level]:
    """The branches by batch, from the smallest on, over the seeds that all batches have.

    Raises:
        FileError: no seed has a branch at every batch, or the smallest batch diverged.
    """
    losses: dict[int, dict[int, float]] = {}
    example: dict[int, Branch] = {}
    for branch in branches:
        losses.setdefault(branch.batch, {})[branch.seed] = branch.loss
        example[branch.batch] = branch
    seeds = sorted(set.intersection(*(set(by_seed) for by_seed in losses.values())))
    if not seeds:
        raise FileError('no seed has a branch at every batch: finish the branches first.')
    first = [losses[min(losses)][seed] for seed in seeds]
    if not math.isfinite(math.fsum(first)):
        raise FileError(
            f'the smallest batch, {min(losses)}, diverged, so there is nothing to compare with: '
            'give a lower --lr.'
        )
    found = []
    for batch in sorted(losses):
        own = [losses[batch][seed] for seed in seeds]
        one = example[batch]
        ends = _interval([loss - least for loss, least in zip(own, first)])
        found.append(Level(one.factor, batch, one.updates, one.rate, tuple(own), *ends))
    return found


def _interval(differences: Sequence[float]) -> tuple[float, float, float]:
    """Mean, lower and upper end; all infinite where one is."""
    count, mean = len(differences), statistics.fmean(differences)
    if not math.isfinite(mean):
        return math.inf, math.inf, math.inf
    if count < FEWEST:
        return mean, math.nan, math.nan
    half = float(student_quantile(count)) * statistics.stdev(differences) / math.sqrt(count)
    return mean, mean - half, mean + half


def critical_batch(found: Sequence[Level], tolerance: float) -> Critical:
    """The largest batch up to which no loss exceeds that of the smallest by more than a share.

    Args:
        found: from the smallest batch on.
        tolerance: share of the loss of the smallest batch.
    """
    allowed = tolerance * found[0].loss

    def last(excess: Callable[[Level], float]) -> int:
        batch = found[0].batch
        for level in found[1:]:
            if excess(level) > allowed:
                break
            batch = level.batch
        return batch

    known = len(found[0].losses) >= FEWEST
    return Critical(
        last(lambda level: level.difference),
        last(lambda level: level.high) if known else None,
        last(lambda level: level.low) if known else None,
        found[-1].batch,
    )
