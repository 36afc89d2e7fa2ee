"""The JSON lines of a run, ``<work dir>/<timestamp>/vis_data/scalars.json``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

QUANTITIES = ('phi', 'phi_se', 'noise_scale', 'factor', 'lr')


def find_scalars(work_dir: Path) -> list[Path]:
    """The files of all launches, in their order."""
    return sorted(work_dir.glob('*/vis_data/scalars.json'))


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
