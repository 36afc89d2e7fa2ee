"""The JSON lines of a run, ``<work dir>/<timestamp>/vis_data/scalars.json``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

ITERATION = 'iter'
QUANTITIES = ('phi', 'phi_se', 'noise_scale', 'factor', 'lr')


def find_scalars(work_dir: Path) -> list[Path]:
    """The files of the last run, one a launch, in their order.

    A launch that resumes goes on behind the first step of the run. One that does not begins a new
    run in the same directory, to which the files before it do not belong.
    """
    run: list[Path] = []
    begun: int | None = None
    for path in sorted(work_dir.glob('*/vis_data/scalars.json')):
        first = _first_step(path)
        if first is not None and (begun is None or first <= begun):
            run, begun = (run if begun is None else []), first
        run.append(path)
    return run


def _first_step(path: Path) -> int | None:
    """The step of the first training line; None before it is written."""
    with path.open(encoding='utf-8', errors='replace') as lines:
        entry = next(parse_lines(filter(is_training, lines)), None)
    return None if entry is None else int(entry['step'])


def read_lines(path: Path) -> list[str]:
    """The lines of one file."""
    return path.read_text(encoding='utf-8', errors='replace').splitlines()


def parse_lines(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Training lines and evaluations, those with a ``step``."""
    for line in lines:
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue  # the last line of a run that was killed while writing it
        if isinstance(entry, dict) and isinstance(entry.get('step'), int):
            yield entry


def is_training(line: str | Mapping[str, Any]) -> bool:
    """Whether a line, parsed or not, is one of training: no evaluation has an ``iter``."""
    return (f'"{ITERATION}": ' if isinstance(line, str) else ITERATION) in line


def module_curve(key: str) -> tuple[str, str] | None:
    """Quantity and module of one of AGVM's scalars; None for any other.

    ``agvm/phi/neck`` -> ('phi', 'neck'); ``agvm/neck.lr`` -> ('lr', 'neck').
    """
    if not key.startswith('agvm/'):
        return None
    rest = key[len('agvm/') :]
    if rest.endswith('.lr'):
        return 'lr', rest[: -len('.lr')]
    quantity, _, module = rest.partition('/')
    return (quantity, module) if quantity in QUANTITIES and module else None
