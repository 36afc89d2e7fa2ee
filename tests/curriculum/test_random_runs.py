"""Random runs under a curriculum against an oracle in exact fractions: stages, rates, weights."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from curriculum_toy import gradient, run

RATIOS = [Fraction(1, 4), Fraction(1, 2), Fraction(3, 4), Fraction(1)]
RATE, GAMMA = 0.01, 0.97


def nearest(value: Fraction) -> set[int]:
    """Both neighbours of a half: floats may round it either way."""
    return {math.floor(value + Fraction(1, 2)), math.ceil(value - Fraction(1, 2))}


class Case:
    """A run of the toy, whose epochs have four iterations, with 1 to 3 stages."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        stages = int(rng.integers(1, 4))
        cuts = sorted(rng.choice(np.arange(1, 20), stages - 1, replace=False).tolist())
        self.shares = [Fraction(b - a, 20) for a, b in itertools.pairwise([0, *cuts, 20])]
        self.ratios = [RATIOS[i] for i in rng.integers(4, size=stages)]
        self.batches = [max(1, int(b)) for b in rng.integers(-3, 4, size=stages)]
        self.budget = Fraction(int(rng.integers(5, 16)), 10)
        self.counts = int(rng.integers(1, 6))
        self.by_epoch = bool(rng.random() < 0.5)
        self.length = int(rng.integers(1, 7) if self.by_epoch else rng.integers(1, 25))
        self.by_update = bool(rng.random() < 0.7)
        self.milestones = self.by_epoch and bool(rng.random() < 0.4)
        self.costs = [ratio**2 for ratio in self.ratios]

    def train(self, work_dir: Path) -> list[dict[str, Any]]:
        schedule: dict[str, Any] = dict(type='ExponentialLR', gamma=GAMMA, by_epoch=False)
        if self.milestones:
            schedule = dict(type='MultiStepLR', milestones=[*range(1, 10)], gamma=GAMMA, end=20)
        stages = [
            dict(share=float(share), ratio=float(ratio), batch=batch)
            for share, ratio, batch in zip(self.shares, self.ratios, self.batches)
        ]
        name = 'max_epochs' if self.by_epoch else 'max_iters'
        hook = dict(
            type='ComputeParamSchedulerHook',
            accumulative_counts=self.counts if self.by_update else 1,
        )
        return run(
            work_dir,
            dict(stages=stages, budget=float(self.budget)),
            train_cfg={'by_epoch': self.by_epoch, name: self.length},
            optim_wrapper=dict(
                optimizer=dict(type='SGD', lr=RATE), accumulative_counts=self.counts
            ),
            param_scheduler=[schedule],
            default_hooks=dict(param_scheduler=hook, logger=None, checkpoint=None),
        )

    def lengths(self) -> set[int]:
        parts = sum(share / cost for share, cost in zip(self.shares, self.costs))
        found = {max(1, length) for length in nearest(self.length * self.budget * parts)}
        return {length * 4 for length in found} if self.by_epoch else found

    def layouts(self, total: int) -> list[list[int]]:
        """The stage of every iteration; several layouts where an end falls on a half."""
        parts = [share / cost for share, cost in zip(self.shares, self.costs)]
        multiple = math.lcm(*(self.counts * batch for batch in self.batches))
        ends = []
        for part in itertools.accumulate(parts[:-1]):
            found = nearest(part / sum(parts) * total / multiple)
            ends.append({min(end, total // multiple) * multiple for end in found})
        return [
            [sum(i >= end for end in chosen) for i in range(total)]
            for chosen in itertools.product(*ends)
            if list(chosen) == sorted(chosen)
        ]

    def updates(self, stages: list[int]) -> list[bool]:
        """Whether an iteration ends an update; the last one takes what is left."""
        last = len(stages) - 1
        return [
            i == last or (i + 1) % (self.counts * self.batches[stage]) == 0
            for i, stage in enumerate(stages)
        ]

    def rates(self, stages: list[int]) -> list[float]:
        """Rate of every iteration, and the one after the last."""
        iterations = self.length * 4 if self.by_epoch else self.length
        steps, limit = iterations, iterations - 1  # MMEngine ends the schedule at the full length
        if self.by_update:
            steps = math.ceil(Fraction(iterations, self.counts))
        if self.milestones:
            steps, limit = self.length, 9
        spent = list(itertools.accumulate(self.costs[stage] for stage in stages))
        made, found = 0, [RATE]
        for cost, ends in zip(spent, self.updates(stages)):
            if ends:
                made = math.floor(cost / spent[-1] * steps)
            found.append(RATE * GAMMA ** min(made, limit))
        return found


def weights(rows: list[dict[str, Any]], updates: list[bool], rates: list[float]) -> list[float]:
    """Plain gradient descent on the mean of each update's gradients."""
    weight, group, found = 0.0, [], []
    for row, ends, rate in zip(rows, updates, rates):
        group.append(gradient(row))
        if ends:
            weight -= rate * sum(group) / len(group)
            group = []
        found.append(weight)
    return found


SLOW = [pytest.param(seed, marks=pytest.mark.slow) for seed in range(10, 200)]


@pytest.mark.parametrize('seed', [*range(10), *SLOW])
def test_stages_rates_and_weights(tmp_path: Path, seed: int) -> None:
    case = Case(seed)
    rows = case.train(tmp_path)
    assert len(rows) in case.lengths()
    ratios = [row['ratio'] for row in rows]
    rates = [row['lr'] for row in rows] + [rows[-1]['next_lr']]
    after = [row['after'] for row in rows]
    fits = []
    for stages in case.layouts(len(rows)):
        expected = case.rates(stages)
        found = weights(rows, case.updates(stages), expected)
        fits.append(
            ratios == [float(case.ratios[stage]) for stage in stages]
            and rates == pytest.approx(expected, rel=1e-9)
            and after == pytest.approx(found, rel=1e-4, abs=1e-4)
        )
    assert any(fits)
