"""Work directories: the last evaluation of a run, or how far it is.

    <work root>/<name of the cell>/<timestamp>/vis_data/scalars.json
    <work root>/<name of the cell>_seed<N>/<timestamp>/vis_data/scalars.json
    <work root>/<name of the cell>_seed<N>.json

The name of a cell is that of its config, with the batch behind it where the config is rescaled.
The first form, the default of tools/train.py, is one run of unknown seed; the second is one run a
seed; the third is what :mod:`..work_dir.results` keeps of a finished run. Only text is read: the
JSON lines, the log and the config that MMEngine writes beside them, the last as literals and never
as code. No checkpoint is opened.
"""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass
from itertools import filterfalse
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..work_dir import (
    find_scalars,
    is_training,
    parse_lines,
    read_lines,
    read_literals,
    read_result,
    read_text,
    score_of,
)

ETA = re.compile(r' - (?:Epoch|Iter)\(train\) .*? eta: ((?:\d+ days?, )?\d+:\d\d:\d\d)')
LENGTH = 'curriculum/length'  # epochs or iterations; a curriculum's config has those at full size
SILENT = 900  # seconds without a line after which a run may have been killed
TAIL = 65536  # bytes at the end of a log in which its last training line is looked for


@dataclass(frozen=True)
class Run:
    """One work directory.

    Args:
        seed: from the directory's name; None if it has none.
        value: score of the last evaluation as it was logged; None before the first.
        finished: whether that evaluation is the one at the end of training.
        progress: how far a run without a final score is, in words.
    """

    seed: int | None
    value: float | None
    finished: bool
    progress: str


def find_runs(
    work_root: Path,
    stem: str,
    key: str,
    now: float | None = None,
    batch: int | None = None,
) -> list[Run]:
    """The runs of the cell ``stem`` below ``work_root``, by seed, those without one first.

    Args:
        work_root: folder of the work directories.
        stem: name of the cell.
        key: the score's name in the logs.
        batch: images of an update; a run whose config has another is left out. None for any.
        now: time to which the age of a log is measured; None for the clock's.

    Raises:
        ValueError: a JSON file of that name is no result, or lacks the score; names the file.
    """
    runs = []
    for path in sorted(work_root.glob(f'{stem}*')):
        match = re.fullmatch(r'(?:_seed(\d+))?(\.json)?', path.name[len(stem) :])
        if match is None or path.is_dir() == bool(match[2]):
            continue
        seed = None if match[1] is None else int(match[1])
        if path.is_dir():
            run = _read_run(path, key, seed, now, batch)
        else:
            run = Run(seed, _read_score(path, key), finished=True, progress='')
        if run is not None:
            runs.append(run)
    return sorted(runs, key=lambda run: -1 if run.seed is None else run.seed)


def _read_score(path: Path, key: str) -> float:
    result = read_result(path)
    try:
        return score_of(result['scores'], key)
    except (ValueError, TypeError) as error:
        raise UserError(f'{path} has no usable score: {error}') from error


def _read_run(
    folder: Path, key: str, seed: int | None, now: float | None, batch: int | None
) -> Run | None:
    logs = find_scalars(folder)
    if not logs:
        return None
    config = _read_config(logs[-1].parent / 'config.py')
    if batch is not None and config.get('total_batch_size', batch) != batch:
        return None  # in the folder of its config, where tools/train.py puts every batch
    scores: dict[int, float | None] = {}  # an evaluation may find nothing to score
    last: dict[str, Any] = {}
    for path in logs:
        lines = list(read_lines(path))
        last = next(parse_lines(filter(is_training, reversed(lines)), path), last)
        for entry in parse_lines(filterfalse(is_training, lines), path):
            scores[int(entry['step'])] = entry.get(key)
    unit, total = _read_length(config)
    if LENGTH in last:
        total = int(last[LENGTH])
    evaluated = max(scores, default=-1)
    value = scores.get(evaluated)
    finished = total is not None and evaluated >= total
    if finished:
        progress = 'finished without a score' if value is None else ''
    else:
        progress = _describe(last, unit, total, logs[-1], now)
    return Run(seed, value, finished, progress)


def _read_config(path: Path) -> dict[str, Any]:
    """The literals of a config that MMEngine wrote."""
    return read_literals(read_text(path)) if path.is_file() else {}


def _read_length(config: dict[str, Any]) -> tuple[str, int | None]:
    """Unit and number of ``train_cfg.max_epochs`` or ``max_iters``."""
    train_cfg = config.get('train_cfg')
    for unit in ('epoch', 'iter'):
        if isinstance(train_cfg, dict) and isinstance(train_cfg.get(f'max_{unit}s'), int):
            return unit, train_cfg[f'max_{unit}s']
    return 'epoch', None


def _describe(
    last: dict[str, Any], unit: str, total: int | None, path: Path, now: float | None
) -> str:
    """As in ``epoch 7/12, eta 1:02:03``."""
    if not last:
        return 'started'
    parts = [f'{unit} {last.get(unit, last["step"])}/{"?" if total is None else total}']
    if not math.isfinite(last.get('loss', 0.0)):
        parts.append(f'loss {last["loss"]:.0f}')
    eta = _read_eta(path.parents[1])
    if eta:
        parts.append(f'eta {eta}')
    age = (time.time() if now is None else now) - path.stat().st_mtime
    if age > SILENT:
        parts.append(f'silent for {age / 3600:.1f} h')
    return ', '.join(parts)


def _read_eta(folder: Path) -> str:
    """The remaining time in the last training line of ``<timestamp>/<timestamp>.log``."""
    log = folder / f'{folder.name}.log'
    if not log.is_file():
        return ''
    with log.open('rb') as file:
        file.seek(max(0, log.stat().st_size - TAIL))
        found = ETA.findall(file.read().decode(errors='replace'))
    return str(found[-1]) if found else ''
