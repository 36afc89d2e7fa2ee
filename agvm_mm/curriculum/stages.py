r"""The maths of a curriculum: which iteration belongs to which stage, and how much it costs.

An iteration on images of ``ratio`` times the full size, ``replay`` times as many of them, costs

.. math:: c_i = \mathrm{ratio}_i^2 \cdot \mathrm{replay}_i

iterations at full size. A stage has a ``share`` of the compute, so that a run which would have had
n iterations at full size, times a ``budget``, has

.. math:: R = n \cdot \mathrm{budget} \cdot \sum_i \mathrm{share}_i / c_i

of which stage i takes the part :math:`(\mathrm{share}_i / c_i) / \sum_j \mathrm{share}_j / c_j`.
Everything here is a function of the iteration alone.

Source: Wang et al., EfficientTrain++, TPAMI 2024, and the scripts of its release.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

TOLERANCE = 1e-9
"""Rounding of a share of the compute."""


@dataclass(frozen=True)
class Stage:
    """A part of the run with images of one size.

    Args:
        share: of the run's compute, in (0, 1]; the shares of all stages add up to 1.
        ratio: side of the images over their full size, in (0, 1].
        strength: of augmentation, 0 to 10; several values divide the stage into equal parts.
        batch: optimizer updates of this many times the config's micro-batches.
        lr: multiplier of the learning rate.
        replay: images of an iteration over those that the data loader gave.
        buffer: batches of the data loader that are kept for replay.
    """

    share: float
    ratio: float
    strength: tuple[float, ...] = (0.0,)
    batch: int = 1
    lr: float = 1.0
    replay: int = 1
    buffer: int = 0

    @property
    def cost(self) -> float:
        """Compute of an iteration, in iterations at full size."""
        return self.ratio**2 * self.replay


def iteration_shares(stages: Sequence[Stage]) -> list[float]:
    """The part of the iterations that each stage takes."""
    counts = [stage.share / stage.cost for stage in stages]
    return [count / sum(counts) for count in counts]


def real_length(stages: Sequence[Stage], length: int, budget: float = 1.0) -> int:
    """Iterations (or epochs) of a run that costs ``budget`` times ``length`` at full size.

    Rounded to the nearest: with few epochs, rounding down would leave out a noticeable part.
    """
    return max(1, round(length * budget * sum(stage.share / stage.cost for stage in stages)))


@dataclass(frozen=True)
class Schedule:
    """Stages laid out over the iterations of a run.

    Args:
        stages: in order.
        ends: first iteration after each stage; the last is the length of the run.
    """

    stages: tuple[Stage, ...]
    ends: tuple[int, ...]

    @staticmethod
    def divide(stages: Sequence[Stage], total: int, multiple: int = 1) -> Schedule:
        """Give each stage its part of ``total`` iterations.

        Args:
            stages: in order.
            total: iterations of the run.
            multiple: stages end at multiples of it, so that none ends inside an optimizer update.
        """
        parts = list(accumulate(iteration_shares(stages)))
        whole = total // multiple  # a last stage shorter than half an update may not begin after it
        inner = [min(round(part * total / multiple), whole) * multiple for part in parts[:-1]]
        return Schedule(tuple(stages), (*inner, total))

    @property
    def starts(self) -> tuple[int, ...]:
        """First iteration of each stage."""
        return (0, *self.ends[:-1])

    @property
    def total(self) -> int:
        """Iterations of the run."""
        return self.ends[-1]

    def stage_at(self, iteration: int) -> int:
        """Index of the stage of an iteration; the last one's after the end."""
        return min(bisect.bisect_right(self.ends, iteration), len(self.stages) - 1)

    def cost_at(self, iteration: int) -> float:
        """Compute of the iterations before this one, in iterations at full size."""
        return sum(
            stage.cost * (min(iteration, end) - start)
            for stage, start, end in zip(self.stages, self.starts, self.ends)
            if iteration > start
        )

    def compute_at(self, iteration: int) -> float:
        """The share of the run's compute before this iteration, 0 to 1."""
        return self.cost_at(iteration) / self.cost_at(self.total)

    def first_at(self, share: float, every: int = 1) -> int:
        """The first iteration before which this share of the compute is spent.

        Args:
            share: of the run's compute; above 1 one more than there are.
            every: count pieces of this many iterations, such as epochs, instead of iterations.
        """
        pieces = range(self.total // every + 1)
        return bisect.bisect_left(
            pieces, share - TOLERANCE, key=lambda piece: self.compute_at(piece * every)
        )

    def strength_at(self, iteration: int) -> float:
        """Strength of augmentation, constant over equal parts of a stage."""
        index = self.stage_at(iteration)
        start, end = self.starts[index], self.ends[index]
        values = self.stages[index].strength
        part = (min(iteration, end - 1) - start) * len(values) // max(1, end - start)
        return values[part]
