"""The search for a learning rate that every method of a comparison gets."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence


def next_rates(tried: Mapping[float, float], first: float, budget: int) -> list[float]:
    """Rates to try next; none when the best one lies between two others or the budget is spent.

    ``first`` and half of it come first, then the rate a factor of 2 beyond the best one for as long
    as that is the lowest or the highest. Of equal scores the lower rate counts as better: where
    nothing is learned the search goes down.

    Args:
        tried: score by learning rate, more is better.
        first: where the search begins.
        budget: runs at most.
    """
    if budget < 2:
        raise ValueError(f'the budget is {budget}; allowed are at least 2 runs.')
    missing = [rate for rate in (first / 2, first) if not _is_tried(rate, tried)]
    if missing:
        return missing
    best = best_of(tried)
    if len(tried) >= budget:
        return []
    if best == min(tried):
        return [best / 2]
    return [best * 2] if best == max(tried) else []


def best_of(tried: Mapping[float, float]) -> float:
    """The rate with the best score; of equal scores the lower one."""
    return max(tried, key=lambda rate: (tried[rate], -rate))


def _is_tried(rate: float, tried: Mapping[float, float]) -> bool:
    """A config holds the best rate of an earlier search rounded to three digits."""
    return any(math.isclose(rate, one, rel_tol=0.01) for one in tried)


def mean_text(values: Sequence[float]) -> str:
    """Mean ± sample standard deviation (number of values); '' of none."""
    if not values:
        return ''
    spread = f' ± {statistics.stdev(values):.1f}' if len(values) > 1 else ''
    return f'{statistics.fmean(values):.1f}{spread} (n={len(values)})'
