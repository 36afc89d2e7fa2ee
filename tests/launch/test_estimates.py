"""The plan of the estimates: what a run makes against what its averages need."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from agvm_mm.launch.estimates import plan_of_estimates
from agvm_runs.settings import AGVMSettings


def _plan(updates: int, warmup: int | None = None, **keys: Any) -> tuple[str, int] | None:
    note = plan_of_estimates(AGVMSettings.from_dict(keys), updates, warmup)
    return None if note is None else (note.text, note.level)


def test_enough_estimates() -> None:
    """Momentum 0.97 weighs 33 1/3 estimates: the 34th is that of update 600 + 33 x 10."""
    assert _plan(2000, 500, begin=600) == (
        'AGVM makes 140 estimates, every 10 updates from 600 to 1990 of 2000; the warm-up ends at '
        'update 500; the averages settle at update 930.',
        logging.INFO,
    )


def test_one_update_is_not_several() -> None:
    found = _plan(2000, interval=1)
    assert found is not None and 'every 1 update from 0 to 1999 of 2000' in found[0]


@pytest.mark.parametrize(
    ('updates', 'keys', 'remedy'),
    [
        (100, {}, 'interval=2'),
        (20, {}, 'interval=1 and momentum=0.95'),
        (100, {'average': 'scale', 'momentum': 0.9}, 'interval=3'),
        (20, {'average': 'scale', 'momentum': 0.9, 'begin': 5}, 'interval=1 and momentum=0.8'),
        (1, {'interval': 1}, 'interval=1 and momentum=0'),
    ],
)
def test_too_few_estimates(updates: int, keys: dict[str, Any], remedy: str) -> None:
    """And the remedy is one: with it the plan warns no more."""
    found = _plan(updates, **keys)
    assert found is not None and found[1] == logging.WARNING
    assert found[0].endswith(f'to settle: set optim_wrapper.agvm.{remedy}.')
    values = dict(pair.split('=') for pair in remedy.split(' and '))
    better = keys | {'interval': int(values['interval'])}
    if 'momentum' in values:
        better['momentum'] = float(values['momentum'])
    again = _plan(updates, **better)
    assert again is not None and again[1] == logging.INFO


def test_no_estimate_no_sentence() -> None:
    assert _plan(10, begin=10) is None
