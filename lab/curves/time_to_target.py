"""How much sooner one run reaches what another ends with."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from agvm_runs.work_dir import score_of

Curve = Sequence[Mapping[str, Any]]
"""Lines of ``TrainingClockHook``, in order."""
CLOCKS = ('seconds', 'cpu_seconds')


def time_to(curve: Curve, metric: str, target: float, clock: str = 'seconds') -> float | None:
    """Time at which a metric first reaches ``target``, interpolated; None if it never does.

    Args:
        curve: of one run.
        metric: key of its metrics.
        target: value to reach.
        clock: 'seconds', 'cpu_seconds' or 'iteration'.
    """
    before: Mapping[str, Any] | None = None
    for point in curve:
        value = score_of(point['metrics'], metric)
        if value >= target:
            if before is None:
                return float(point[clock])
            low = score_of(before['metrics'], metric)
            part = (target - low) / (value - low)
            return float(before[clock] + part * (point[clock] - before[clock]))
        before = point
    return None


def score_at(curve: Curve, metric: str, time: float, clock: str = 'seconds') -> float:
    """Score of the last validation up to ``time``; 0 before the first. Arguments as above."""
    scores = [score_of(point['metrics'], metric) for point in curve if point[clock] <= time]
    return scores[-1] if scores else 0.0


def compare(baseline: Curve, other: Curve, metric: str) -> dict[str, Any]:
    """Final metrics of both runs, and the time of ``other`` to the baseline's final ``metric``.

    The ratios are over the baseline's own whole time, so that below 1 is faster. There is one for
    each of ``CLOCKS``, to the target and of the whole runs. ``equal_time`` is what ``other`` scores
    by the time at which the baseline ends.
    """
    target = score_of(baseline[-1]['metrics'], metric)
    ratios = {}
    for clock in CLOCKS:
        reached = time_to(other, metric, target, clock)
        ratios[clock] = None if reached is None else reached / baseline[-1][clock]
    return dict(
        target=target,
        ratio=ratios,
        whole_ratio={clock: other[-1][clock] / baseline[-1][clock] for clock in CLOCKS},
        equal_time={clock: score_at(other, metric, baseline[-1][clock], clock) for clock in CLOCKS},
        baseline=dict(baseline[-1]['metrics']),
        other=dict(other[-1]['metrics']),
    )


def summarise(comparisons: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation over seeds of the ratios, scores and final metrics' changes.

    The ratio to the target is the mean over the runs that reached it, ``reached`` of ``runs``.
    """
    reached = [c['ratio'] for c in comparisons if c['ratio']['seconds'] is not None]
    changes = {
        key: [score_of(c['other'], key) - score_of(c['baseline'], key) for c in comparisons]
        for key in {key: None for c in comparisons for key in (*c['baseline'], *c['other'])}
    }
    return dict(
        runs=len(comparisons),
        reached=len(reached),
        ratio={clock: mean_and_sd([one[clock] for one in reached]) for clock in CLOCKS},
        whole_ratio={
            clock: mean_and_sd([c['whole_ratio'][clock] for c in comparisons]) for clock in CLOCKS
        },
        equal_time={
            clock: mean_and_sd([c['equal_time'][clock] for c in comparisons]) for clock in CLOCKS
        },
        change={key: mean_and_sd(values) for key, values in changes.items()},
    )


def mean_and_sd(values: Sequence[float]) -> dict[str, float] | None:
    """Mean and sample standard deviation; None of nothing, deviation 0 of one value."""
    if not values:
        return None
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return dict(mean=statistics.fmean(values), sd=deviation)
