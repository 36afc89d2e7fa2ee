"""What the files of a work directory say: curves, evaluations, config, environment."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..curves.history import CurveRecorder, History
from ..curves.series import Recorder, Series
from ..predictions.kept import is_prediction, require_whole
from ..settings import AGVMSettings
from ..work_dir import (
    FileError,
    find_scalars,
    is_training,
    parse_lines,
    read_json,
    read_lines,
    read_literals,
    read_text,
    type_name,
)

RULE = re.compile(r'-{20,}')
LARGEST = 2**53
VARIABLE = re.compile(r' {4}(\S[^:\n]*): (.*)')
NOT_FINITE = re.compile(r'AGVM: gradients were not finite at update (\d{1,18})')
SHARED = ('epoch', 'iter', 'step', 'time', 'data_time', 'memory')


@dataclass
class Run:
    """The last run of a work directory.

    Args:
        folder: its path as it was given.
        config: text of the config of the last launch that trained.
        config_path: its file.
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
    config_path: Path | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    environment: list[tuple[str, str]] = field(default_factory=list)
    losses: dict[str, Series] = field(default_factory=dict)
    scores: dict[str, Series] = field(default_factory=dict)
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
        return int(text) if re.fullmatch(r'[1-9]\d{0,8}', text, re.ASCII) else 1

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
        except (ValueError, TypeError, OverflowError):
            return None

    @property
    def command(self) -> str:
        """What starts the run again, with the config and the seed of its last launch."""
        config = shlex.quote(str(self.config_path or self.folder / 'CONFIG.py'))
        command = f'bash tools/dist_train.sh {config} {self.ranks}'
        if self.settings.get('launcher', 'none') == 'none':
            command = f'python tools/train.py {config}'
        seed = dict(self.environment).get('seed', '')
        randomness = self.settings.get('randomness')
        if isinstance(randomness, dict) and randomness.get('seed') is not None:
            return command
        return f'{command} --seed {seed}' if re.fullmatch(r'\d{1,18}', seed, re.ASCII) else command


def read_run(
    work_dir: str | Path, also: Callable[[Path, dict[str, Any]], None] | None = None
) -> Run:
    """Read the text files below ``work_dir``; no checkpoint is opened and no config executed.

    Args:
        work_dir: of the run.
        also: called with the path of the log and each of its lines, in order.

    Raises:
        FileNotFoundError: no log of MMEngine.
    """
    run = Run(Path(work_dir))
    logs = find_scalars(run.folder)
    if not logs:
        raise FileNotFoundError(
            f'{run.folder} holds no */vis_data/scalars.json; give the work directory of a run.'
        )
    losses, scores, curves = Recorder(), Recorder(), CurveRecorder()
    trained = []
    for path in logs:
        before = run.last
        for entry in parse_lines(read_lines(path), path):
            if is_training(entry):
                run.last = entry
                _add(losses, {key: value for key, value in entry.items() if 'loss' in key}, entry)
            else:
                _add(scores, {k: v for k, v in entry.items() if math.isfinite(v)}, entry)
            curves.add_entry(entry)
            if also is not None:
                also(path, entry)
        if run.last is not before:
            trained.append(path)
    run.losses, run.scores = losses.series(), scores.series()
    history = curves.history(run.name)
    run.history = history if history.curves else None
    _read_texts(run, trained or logs)  # a test writes into the directory too
    run.predictions = list(_predictions(run.folder))
    return run


def _read_texts(run: Run, logs: list[Path]) -> None:
    config = logs[-1].parent / 'config.py'
    if config.is_file():
        run.config, run.config_path = read_text(config), config
        run.settings = read_literals(run.config)
    for path in [text for log in logs for text in sorted(log.parents[1].glob('*.log'))]:
        environment: list[tuple[str, str]] | None = None
        before = ''
        for line in map(str.rstrip, read_lines(path)):
            if environment is not None and RULE.fullmatch(line):
                run.environment, environment = environment, None
            elif environment is not None and (pair := VARIABLE.fullmatch(line)):
                environment.append((pair[1], pair[2]))
            elif line == 'System environment:' and RULE.fullmatch(before):
                environment = []
            elif run.skipped is None and (found := NOT_FINITE.search(line)):
                run.skipped = int(found[1])
            before = line


def _add(recorder: Recorder, values: dict[str, float], entry: dict[str, Any]) -> None:
    for key, value in values.items():
        if key not in SHARED:
            recorder.add(key, entry['step'], value)


def _predictions(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob('*.json')):
        try:
            value = read_json(path)
        except FileError:
            continue  # another tool's file
        if is_prediction(value):
            require_whole(value, path)
            yield value


def _count(value: Any) -> int:
    return value if isinstance(value, int) and 0 < value <= LARGEST else 1
