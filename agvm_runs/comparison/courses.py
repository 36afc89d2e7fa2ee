"""Losses and scores of a run over its updates, on however many ranks its launches ran."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..curves.series import Recorder, Series
from ..report.run import read_run
from ..work_dir import FileError, is_training, read_literals, read_text


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
    lines = _Lines()
    try:
        run = read_run(work_dir, lines.add)
    except FileNotFoundError as error:
        raise FileError(str(error)) from error
    if not run.last:
        raise FileError(f'{run.folder} has no line of training yet: nothing to compare.')
    found = lines.recorder.series()
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


class _Lines:
    """Records the lines of all launches over updates."""

    def __init__(self) -> None:
        self.recorder = Recorder()
        self._launches: dict[Path, _Launch] = {}

    def add(self, log: Path, entry: dict[str, Any]) -> None:
        """One line, of training or of an evaluation."""
        if log not in self._launches:
            self._launches[log] = _Launch(_counts(log))
        launch = self._launches[log]
        if is_training(entry):
            seconds = launch.step(entry)
            self.recorder.add('seconds', launch.update, seconds)
            if 'loss' in entry:
                self.recorder.add('loss', launch.update, entry['loss'])
        else:
            for key, value in entry.items():
                if key not in ('step', 'time', 'data_time') and math.isfinite(value):
                    self.recorder.add(('score', key), launch.update, value)


class _Launch:
    """Where a launch is, and the seconds between two of its lines."""

    def __init__(self, counts: int) -> None:
        self._counts = counts
        self._iteration = 0
        self._begun = False

    @property
    def update(self) -> int:
        """Of the last line of training."""
        return self._iteration // self._counts

    def step(self, entry: dict[str, Any]) -> float:
        """Seconds since the line before, by the mean time of an iteration."""
        iterations = int(entry['iter']) - self._iteration if self._begun else 1
        self._iteration, self._begun = int(entry['iter']), True
        return float(entry.get('time', 0.0)) * max(iterations, 0)


def _counts(log: Path) -> int:
    config = log.parent / 'config.py'
    settings = read_literals(read_text(config)) if config.is_file() else {}
    wrapper = settings.get('optim_wrapper')
    counts = wrapper.get('accumulative_counts') if isinstance(wrapper, dict) else None
    return counts if isinstance(counts, int) and counts > 0 else 1
