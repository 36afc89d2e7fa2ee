"""How many updates several recipes take to one loss and one score, and what an update costs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.hooks import Hook
from mmengine.runner import Runner

from agvm_mm.analysis.benchmark.memory import Peak, measure_peak
from agvm_mm.analysis.time_to_target import mean_and_sd
from agvm_mm.hooks.stopwatch import Stopwatch
from agvm_mm.markdown import markdown_table
from agvm_mm.work_dir import score_of

WEIGHED = 2
"""The iteration whose memory is measured: the optimizer has its state by then."""
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
        """See :class:`mmengine.hooks.Hook`."""
        if runner.iter == WEIGHED:
            self._peak = self._weighing.enter_context(measure_peak(torch.device(get_device())))
        self._watch.start()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """See :class:`mmengine.hooks.Hook`."""
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
        """See :class:`mmengine.hooks.Hook`."""
        score = score_of(metrics or {}, self.metric)
        self.course.scores.append((len(self.course.losses), score))


def updates_to_loss(losses: Sequence[float], target: float, window: int) -> int | None:
    """First update at which the mean of the last ``window`` losses is at most the target."""
    for end in range(window, len(losses) + 1):
        if statistics.fmean(losses[end - window : end]) <= target:
            return end
    return None


def updates_to_score(scores: Sequence[tuple[int, float]], target: float) -> int | None:
    """First validation at which the score is at least the target, in updates."""
    return next((updates for updates, score in scores if score >= target), None)


def summarize(
    courses: Sequence[Course], loss: float, score: float, window: int
) -> list[dict[str, Any]]:
    """One entry a recipe, in the order of their first run; the first recipe is the baseline.

    Updates to a target are the mean over seeds, None if a seed has missed it; ratios are baseline
    over recipe, so that more is better, None likewise; seconds are the median of an update, and
    ``score`` is the mean over seeds of the last validation's. Ratios of seconds and memory are
    recipe over baseline.
    """
    names = list(dict.fromkeys(course.recipe for course in courses))
    rows: list[dict[str, Any]] = []
    for name in names:
        runs = [course for course in courses if course.recipe == name]
        row: dict[str, Any] = {
            'recipe': name,
            'seeds': [run.seed for run in runs],
            'finite': all(math.isfinite(value) for run in runs for value in run.losses),
            'updates_to_loss': _mean([updates_to_loss(r.losses, loss, window) for r in runs]),
            'updates_to_score': _mean([updates_to_score(r.scores, score) for r in runs]),
            'score': mean_and_sd([run.scores[-1][1] for run in runs if run.scores]),
            'seconds': statistics.median(second for run in runs for second in run.seconds),
            'cpu_seconds': statistics.median(second for run in runs for second in run.cpu_seconds),
            'peak_bytes': statistics.median(run.peak_bytes for run in runs),
        }
        first = rows[0] if rows else row
        for key in ('updates_to_loss', 'updates_to_score'):
            row[f'{key}_ratio'] = first[key] / row[key] if first[key] and row[key] else None
        for key in COSTS:
            row[f'{key}_ratio'] = row[key] / first[key] if first[key] else None
        rows.append(row)
    return rows


def to_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The entries of :func:`summarize` as a table; a dash for what was not reached or measured."""
    head = ['recipe', 'updates to the loss', 'ratio', 'updates to the score', 'ratio']
    lines = [
        [
            row['recipe'],
            *(
                _text(row[key], form)
                for target in ('updates_to_loss', 'updates_to_score')
                for key, form in ((target, '.0f'), (f'{target}_ratio', '.2f'))
            ),
            '-' if row['score'] is None else '{mean:.3f} ± {sd:.3f}'.format(**row['score']),
            *(_text(row[f'{key}_ratio'], '.2f') for key in COSTS),
        ]
        for row in rows
    ]
    return markdown_table([*head, 'last score', 'time an update', 'CPU time', 'memory'], lines)


def _text(value: float | None, form: str) -> str:
    return '-' if value is None else format(value, form)


def _mean(values: Sequence[int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None
