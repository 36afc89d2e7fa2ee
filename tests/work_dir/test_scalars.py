"""Which logs of a work directory are of its last run, and which of their lines of training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from logs import evaluation, train_line, write_run

from agvm_runs.work_dir import find_scalars, is_training, parse_lines
from agvm_runs.work_dir.scalars import LARGEST, module_curve


def _launches(folder: Path, *first_steps: int | None) -> list[Path]:
    """One launch for each, with three training lines from that step on; none for None."""
    paths = []
    for day, first in enumerate(first_steps, 10):
        lines = [] if first is None else [train_line(1, first + 50 * i) for i in range(3)]
        paths.append(write_run(folder, lines, stamp=f'202601{day}_000000'))
    return paths


@pytest.mark.parametrize(
    ('first_steps', 'kept'),
    [
        ((50, 200), [0, 1]),
        ((50, 100, 200), [0, 1, 2]),  # the second launch repeats what the first had not saved
        ((50, 50), [1]),
        ((50, 200, 50, 200), [2, 3]),
        ((50, 10, 40), [1, 2]),  # the new run is logged more often
        ((200, 300), [0, 1]),  # the first log was deleted
        ((50, None), [0, 1]),  # it may resume
        ((None, 50, None, 100), [0, 1, 2, 3]),
        ((50, None, 50), [2]),
        ((), []),
    ],
)
def test_a_launch_that_begins_anew_leaves_those_before_out(
    tmp_path: Path, first_steps: tuple[int | None, ...], kept: list[int]
) -> None:
    paths = _launches(tmp_path, *first_steps)
    assert find_scalars(tmp_path) == [paths[i] for i in kept]


def test_the_first_step_is_that_of_a_whole_training_line(tmp_path: Path) -> None:
    """Neither an evaluation nor a line that was cut off begins a run."""
    first = write_run(tmp_path, [train_line(1, 50)])
    resumed = write_run(tmp_path, [evaluation(1), train_line(2, 60)], stamp='20260102_000000')
    cut = write_run(tmp_path, [], stamp='20260103_000000', tail='{"iter": 3, "step": 3, "lo')
    assert find_scalars(tmp_path) == [first, resumed, cut]


@pytest.mark.parametrize(
    ('entry', 'expected'),
    [(train_line(1, 50), True), (evaluation(1, loss=0.5, iteration=3), False), ({}, False)],
)
def test_a_line_of_training_has_an_iteration(entry: dict[str, float], expected: bool) -> None:
    """Whatever it is called, a score is no loss."""
    assert is_training(entry) is expected
    assert is_training(json.dumps(entry)) is expected


@pytest.mark.parametrize('clock', [0, LARGEST])
def test_the_first_and_the_last_iteration_are_read(clock: int) -> None:
    line = json.dumps({'iter': clock, 'step': clock, 'loss': 0.5})
    assert list(parse_lines([line], Path('log'))) == [{'iter': clock, 'step': clock, 'loss': 0.5}]


@pytest.mark.parametrize(
    ('key', 'expected'),
    [
        ('agvm/phi/roi_head.bbox_head', ('phi', 'roi_head.bbox_head')),
        ('agvm/neck.lr', ('lr', 'neck')),
        ('agvm/phi/', None),
        ('agvm/clipped/neck', None),
        ('kfac/phi/neck', None),
    ],
)
def test_which_scalars_are_curves_of_modules(key: str, expected: tuple[str, str] | None) -> None:
    assert module_curve(key) == expected


def test_what_is_no_number_is_left_out() -> None:
    line = json.dumps({'step': 1, 'loss': 0.5, 'finished': True, 'name': 'run', 'empty': None})
    assert list(parse_lines([line], Path('log'))) == [{'step': 1, 'loss': 0.5}]
