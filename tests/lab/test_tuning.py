"""Every method gets the same search."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lab.trainings.tuning import next_rates


def search(score: Callable[[float], float], first: float = 1.0, budget: int = 5) -> list[float]:
    """All rates in the order of their runs."""
    tried: dict[float, float] = {}
    while rates := next_rates(tried, first, budget):
        tried.update({rate: score(rate) for rate in rates})
    return list(tried)


def test_it_ends_when_the_best_lies_between_two() -> None:
    assert search(lambda rate: -abs(rate - 1)) == [0.5, 1.0, 2.0]
    assert search(lambda rate: -abs(rate - 0.5)) == [0.5, 1.0, 0.25]


@pytest.mark.parametrize(('sign', 'last'), [(1, 8.0), (-1, 0.0625)])
def test_it_follows_a_slope_until_the_budget_is_spent(sign: int, last: float) -> None:
    rates = search(lambda rate: sign * rate)
    assert len(rates) == 5 and rates[-1] == last


def test_where_nothing_is_learned_it_goes_down() -> None:
    assert search(lambda rate: 0.0, budget=4) == [0.5, 1.0, 0.25, 0.125]


def test_an_interrupted_start_is_completed_first() -> None:
    assert next_rates({1.0: 0.3}, 1.0, 5) == [0.5]


def test_a_rate_that_was_rounded_into_the_config_counts_as_tried() -> None:
    tried = {0.0010625: 0.2, 0.00053125: 0.3, 0.002125: 0.1}
    assert next_rates(tried, 0.00106, 6) == [0.00053125 / 2]


def test_a_budget_below_the_start_is_refused() -> None:
    with pytest.raises(ValueError, match='the budget is 1'):
        next_rates({}, 1.0, 1)
