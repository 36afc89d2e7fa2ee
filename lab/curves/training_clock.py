"""What validation found against the time spent training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner

from .stopwatch import Stopwatch


class TrainingClockHook(Hook):
    """Appends a line of JSON to ``curve.jsonl`` in the work directory after every validation.

    Keys: epoch, iteration, seconds (wall clock), cpu_seconds (of this process) and metrics.
    Validation itself and what hooks do around it are not counted. A resumed run starts at 0.
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self.watch = Stopwatch()

    def before_train(self, runner: Runner) -> None:
        """Start the clock."""
        self.watch.start()

    def before_val(self, runner: Runner) -> None:
        """Stop the clock."""
        self.watch.stop()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Write the line."""
        self._write(runner, metrics or {})

    def after_val(self, runner: Runner) -> None:
        """Go on."""
        self.watch.start()

    @master_only
    def _write(self, runner: Runner, metrics: dict[str, Any]) -> None:
        line = dict(
            epoch=runner.epoch,
            iteration=runner.iter,
            seconds=self.watch.spent[0],
            cpu_seconds=self.watch.spent[1],
            metrics={key: float(value) for key, value in metrics.items()},
        )
        with (Path(runner.work_dir) / 'curve.jsonl').open('a') as file:
            file.write(json.dumps(line) + '\n')
