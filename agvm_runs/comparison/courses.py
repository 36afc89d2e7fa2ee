"""Losses and scores of a run over its updates, on however many ranks its launches ran."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..curves.series import Recorder, Series
from ..report.run import read_run
from ..work_dir import (
    FileError,
    find_scalars,
    is_training,
    parse_lines,
    read_lines,
    read_literals,
    read_text,
)


@dataclass
class Course:
    """One run.

    Args:
        name: of its directory.
        settings: literals of the config of the last launch that trained.
        batch: images of an update.
        loss: over updates.
        scores: by metric, over updates; an evaluation lies at the last update before it.
        seconds: of training, over updates, without evaluations and restarts.
    """

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    batch: int = 1
    loss: Series = field(default_factory=lambda: Series([], []))
    scores: dict[str, Series] = field(default_factory=dict)
    seconds: Series = field(default_factory=lambda: Series([], []))

    @property
    def updates(self) -> int:
        """That the log shows."""
        return int(self.seconds.steps[-1]) if len(self.seconds) else 0


def read_course(work_dir: str | Path) -> Course:
    """Read the logs of a run; what a resumed launch repeats counts once.

    A launch counts iterations, k to an update, with the k of its own config. A resume on other
    ranks has another k and begins at the same update.

    Raises:
        FileError: the directory has no line of training.
    """
    try:
        run = read_run(work_dir)
    except FileNotFoundError as error:
        raise FileError(str(error)) from error
    if not run.last:
        raise FileError(f'{run.folder} has no line of training yet: nothing to compare.')
    recorder = Recorder()
    for log in find_scalars(run.folder):
        counts, clock = _counts(log), _Clock()
        for entry in parse_lines(read_lines(log), log):
            if is_training(entry):
                update = int(entry['iter']) // counts
                recorder.add('seconds', update, clock.step(entry))
                if 'loss' in entry:
                    recorder.add('loss', update, entry['loss'])
            else:
                for key, value in entry.items():
                    if key not in ('step', 'time', 'data_time') and math.isfinite(value):
                        recorder.add(('score', key), clock.iteration // counts, value)
    found = recorder.series()
    seconds = found.pop('seconds')
    seconds = Series(seconds.steps, seconds.values.cumsum())
    loss = found.pop('loss', Series([], []))
    scores = {key[1]: curve for key, curve in found.items()}
    return Course(run.name, run.settings, run.batch, loss, scores, seconds)


def with_scores(course: Course, keys: Sequence[str]) -> Course:
    """The run with these scores alone.

    Raises:
        FileError: it has none of a name.
    """
    for key in keys:
        if key not in course.scores:
            raise FileError(
                f'--scores holds {key!r}, which {course.name} has not logged; allowed are '
                f'{", ".join(course.scores) or "none"}.'
            )
    return replace(course, scores={key: course.scores[key] for key in keys})


class _Clock:
    """Seconds between two lines of a launch."""

    def __init__(self) -> None:
        self.iteration = 0
        self._begun = False

    def step(self, entry: dict[str, Any]) -> float:
        """Seconds since the line before, by the mean time of an iteration."""
        iterations = int(entry['iter']) - self.iteration if self._begun else 1
        self.iteration, self._begun = int(entry['iter']), True
        return float(entry.get('time', 0.0)) * max(iterations, 0)


def _counts(log: Path) -> int:
    config = log.parent / 'config.py'
    settings = read_literals(read_text(config)) if config.is_file() else {}
    wrapper = settings.get('optim_wrapper')
    counts = wrapper.get('accumulative_counts') if isinstance(wrapper, dict) else None
    return counts if isinstance(counts, int) and counts > 0 else 1
