"""How many updates several recipes take to one loss and one score, and what an update costs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.hooks import Hook
from mmengine.runner import Runner

from agvm_runs.markdown import markdown_table
from agvm_runs.work_dir import score_of

from ..cost.memory import Peak, measure_peak
from .stopwatch import Stopwatch
from .time_to_target import mean_and_sd

WEIGHED = 2
"""The iteration whose memory is measured: the optimizer has its state by then."""
TARGETS = ('updates_to_loss', 'updates_to_score')
COSTS = ('seconds', 'cpu_seconds', 'peak_bytes')


@dataclass
class Course:
    """One training as it went.

    Attributes:
        recipe: name of the config.
        seed: of the run.
        losses: mean loss of every optimizer update.
        seconds: of every update: forward, backward and step, without the loading of data.
        cpu_seconds: the same of this process alone, which other work on the machine leaves alone.
        scores: pairs of updates made and score.
        peak_bytes: most that one iteration held above what was there before it; 0 if not measured.
        settings: what the run was made with, as far as it is known.
    """

    recipe: str
    seed: int
    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    scores: list[tuple[int, float]] = field(default_factory=list)
    peak_bytes: int = 0
    settings: dict[str, Any] = field(default_factory=dict)


class CourseHook(Hook):
    """Writes a run into a :class:`Course`.

    Args:
        course: filled in while training.
        metric: name of the score among the results of validation.
    """

    priority = 'VERY_HIGH'

    def __init__(self, course: Course, metric: str) -> None:
        self.course = course
        self.metric = metric
        self._losses: list[float] = []
        self._watch = Stopwatch()
        self._weighing = ExitStack()
        self._peak: Peak | None = None

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Start the clock of an iteration."""
        if runner.iter == WEIGHED:
            self._peak = self._weighing.enter_context(measure_peak(torch.device(get_device())))
        self._watch.start()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Stop the clock; note an update when it is complete."""
        self._losses.append(float(outputs['loss'].detach()))
        self._watch.stop()
        if self._peak is not None:
            self._weighing.close()
            self.course.peak_bytes, self._peak = self._peak.bytes, None
        if runner.optim_wrapper.should_update():
            self.course.losses.append(statistics.fmean(self._losses))
            self.course.seconds.append(self._watch.spent[0])
            self.course.cpu_seconds.append(self._watch.spent[1])
            self._losses, self._watch = [], Stopwatch()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Note the score."""
        score = score_of(metrics or {}, self.metric)
        self.course.scores.append((len(self.course.losses), score))


def moving_mean(losses: Sequence[float], window: int) -> Iterator[tuple[int, float]]:
    """Updates made, from ``window`` on, and the mean of the last ``window`` losses."""
    for end in range(window, len(losses) + 1):
        yield end, statistics.fmean(losses[end - window : end])


def updates_to_loss(losses: Sequence[float], target: float, window: int) -> int | None:
    """First update at which the mean of the last ``window`` losses is at most the target."""
    return next((end for end, mean in moving_mean(losses, window) if mean <= target), None)


def updates_to_score(scores: Sequence[tuple[int, float]], target: float) -> int | None:
    """First validation at which the score is at least the target, in updates."""
    return next((updates for updates, score in scores if score >= target), None)


def summarize(
    courses: Sequence[Course], loss: float, score: float, window: int
) -> list[dict[str, Any]]:
    """One entry a recipe, in the order of their first run; the first recipe is the baseline.

    All numbers are means over seeds. Updates to a target are None if a seed has missed it. Time is
    the mean of an update, as some methods work at every few updates alone; ``score`` is the last
    validation's. Ratios are taken seed by seed, and have a mean and a standard deviation: baseline
    over recipe for updates, so that more is better, recipe over baseline for time and memory. They
    are None where a number is, or where no seed is common.
    """
    measured = {
        (course.recipe, course.seed): _measure(course, loss, score, window) for course in courses
    }
    names = list(dict.fromkeys(course.recipe for course in courses))
    rows: list[dict[str, Any]] = []
    for name in names:
        runs = [course for course in courses if course.recipe == name]
        row: dict[str, Any] = {
            'recipe': name,
            'seeds': [run.seed for run in runs],
            'finite': all(math.isfinite(value) for run in runs for value in run.losses),
            'score': mean_and_sd([run.scores[-1][1] for run in runs if run.scores]),
        }
        shared = [run.seed for run in runs if (names[0], run.seed) in measured]
        for key in (*TARGETS, *COSTS):
            row[key] = _mean([measured[name, run.seed][key] for run in runs])
            over, under = (name, names[0]) if key in COSTS else (names[0], name)
            row[f'{key}_ratio'] = _ratio(
                [measured[over, seed][key] for seed in shared],
                [measured[under, seed][key] for seed in shared],
            )
        rows.append(row)
    return rows


def _measure(course: Course, loss: float, score: float, window: int) -> dict[str, float | None]:
    """What a table compares of one run."""
    return {
        'updates_to_loss': updates_to_loss(course.losses, loss, window),
        'updates_to_score': updates_to_score(course.scores, score),
        'seconds': statistics.fmean(course.seconds),
        'cpu_seconds': statistics.fmean(course.cpu_seconds),
        'peak_bytes': course.peak_bytes,
    }


def to_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The entries of :func:`summarize` as a table; a dash for what was not reached or measured."""
    head = ['recipe', 'updates to the loss', 'ratio', 'updates to the score', 'ratio']
    three, two = '{mean:.3f} ± {sd:.3f}', '{mean:.2f} ± {sd:.2f}'
    lines = [
        [
            row['recipe'],
            *(
                text
                for key in TARGETS
                for text in (
                    '-' if row[key] is None else f'{row[key]:.0f}',
                    _text(row[f'{key}_ratio'], two),
                )
            ),
            _text(row['score'], three),
            *(_text(row[f'{key}_ratio'], two) for key in COSTS),
        ]
        for row in rows
    ]
    return markdown_table([*head, 'last score', 'time an update', 'CPU time', 'memory'], lines)


def _text(value: dict[str, float] | None, form: str) -> str:
    return '-' if value is None else form.format(**value)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None


def _ratio(over: Sequence[float | None], under: Sequence[float | None]) -> dict[str, float] | None:
    known = [a / b for a, b in zip(over, under) if a and b]
    return mean_and_sd(known) if len(known) == len(over) else None
