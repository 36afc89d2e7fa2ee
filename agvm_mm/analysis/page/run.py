"""What the files of a work directory say: curves, evaluations, config, environment."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agvm_runs.work_dir import find_scalars, is_training, parse_lines, read_lines, read_literals

from ...launch.naming import type_name
from ...optim.settings import AGVMSettings
from ..history import History, read_history
from ..predict.forecast import read

Curve = list[tuple[int, float]]
ENVIRONMENT = re.compile(r'^-{20,}\nSystem environment:\n(.*?)^-{20,}$', re.MULTILINE | re.DOTALL)
NOT_FINITE = re.compile(r'AGVM: gradients were not finite at update (\d+)')
SHARED = ('epoch', 'iter', 'step', 'time', 'data_time', 'memory')


@dataclass
class Run:
    """The last run of a work directory.

    Args:
        folder: its path as it was given.
        config: text of the last launch's config.
        settings: the literals in it.
        environment: (name, value) as MMEngine logged them.
        losses: loss and its parts over iterations.
        scores: metrics of the evaluations over epochs or iterations.
        last: the last training line.
        skipped: update of the first estimate that was not finite, if any.
        history: per-module curves; None without AGVM.
        predictions: JSON files of predict_batch_size.py in the folder.
    """

    folder: Path
    config: str = ''
    settings: dict[str, Any] = field(default_factory=dict)
    environment: list[tuple[str, str]] = field(default_factory=list)
    losses: dict[str, Curve] = field(default_factory=dict)
    scores: dict[str, Curve] = field(default_factory=dict)
    last: dict[str, Any] = field(default_factory=dict)
    skipped: int | None = None
    history: History | None = None
    predictions: list[dict[str, Any]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Of the directory."""
        return self.folder.resolve().name

    @property
    def ranks(self) -> int:
        """Processes, as MMEngine counts them."""
        text = dict(self.environment).get('GPU number', '1')
        return int(text) if text.isdigit() and int(text) > 0 else 1

    @property
    def accumulation(self) -> int:
        """Micro-batches of an update."""
        return _count(self.wrapper.get('accumulative_counts'))

    @property
    def batch(self) -> int:
        """Images of an optimizer update."""
        loader = self.settings.get('train_dataloader')
        images = loader.get('batch_size') if isinstance(loader, dict) else None
        return self.ranks * self.accumulation * _count(images)

    @property
    def updates(self) -> int:
        """Optimizer updates so far."""
        return int(self.last.get('iter', 0)) // self.accumulation

    @property
    def wrapper(self) -> dict[str, Any]:
        """``optim_wrapper`` of the config."""
        found = self.settings.get('optim_wrapper')
        return found if isinstance(found, dict) else {}

    @property
    def agvm(self) -> AGVMSettings | None:
        """The settings in force; None where the run has none or they cannot be read."""
        given = self.wrapper.get('agvm', {})
        if not type_name(self.wrapper).startswith('AGVM') or given is None:
            return None
        try:
            return AGVMSettings.from_dict(given)
        except (ValueError, TypeError):
            return None

    @property
    def command(self) -> str:
        """What starts the run again."""
        configs = sorted(self.folder.glob('*.py'))
        config = shlex.quote(str(configs[0] if configs else self.folder / 'CONFIG.py'))
        if self.settings.get('launcher', 'none') == 'none':
            return f'python tools/train.py {config}'
        return f'bash tools/dist_train.sh {config} {self.ranks}'


def read_run(work_dir: str | Path) -> Run:
    """Read the text files below ``work_dir``; no checkpoint is opened and no config executed.

    Raises:
        FileNotFoundError: no log of MMEngine.
    """
    run = Run(Path(work_dir))
    logs = find_scalars(run.folder)
    if not logs:
        raise FileNotFoundError(
            f'{run.folder} holds no */vis_data/scalars.json; give the work directory of a run.'
        )
    for path in logs:
        for entry in parse_lines(read_lines(path)):
            _add(run, entry)
    for curves in (run.losses, run.scores):
        for key, curve in curves.items():
            curves[key] = sorted(dict(curve).items())  # where a resumed run repeats, the later
    _read_texts(run, logs)
    try:
        run.history = read_history(run.folder)
    except FileNotFoundError:
        run.history = None
    run.predictions = list(_predictions(run.folder))
    return run


def _read_texts(run: Run, logs: list[Path]) -> None:
    config = logs[-1].parent / 'config.py'
    if config.is_file():
        run.config = config.read_text(encoding='utf-8', errors='replace')
        run.settings = read_literals(run.config)
    for path in [text for log in logs for text in sorted(log.parents[1].glob('*.log'))]:
        text = path.read_text(encoding='utf-8', errors='replace')
        block = ENVIRONMENT.search(text)
        if block:
            pairs = re.findall(r'^ {4}(\S[^:\n]*): (.*)$', block[1], re.MULTILINE)
            run.environment = [(name, value) for name, value in pairs]
        found = NOT_FINITE.search(text)
        if found and run.skipped is None:
            run.skipped = int(found[1])


def _add(run: Run, entry: dict[str, Any]) -> None:
    training = is_training(entry)
    if training:
        run.last = entry
    for key, value in entry.items():
        if key in SHARED or isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        if training and 'loss' in key:
            run.losses.setdefault(key, []).append((int(entry['step']), float(value)))
        elif not training and math.isfinite(value):
            run.scores.setdefault(key, []).append((int(entry['step']), float(value)))


def _predictions(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob('*.json')):
        try:
            yield read(path)
        except (ValueError, OSError):
            continue  # another tool's file


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 1
