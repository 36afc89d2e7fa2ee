"""The per-module curves of a work directory, from the JSON lines that MMEngine writes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from ..work_dir import find_scalars, parse_lines, read_lines

QUANTITIES = ('phi', 'phi_se', 'noise_scale', 'factor', 'lr')


@dataclass
class History:
    """Curves of one run.

    Args:
        name: the work directory's name.
        curves: quantity -> module -> [(iteration, value)], in order of iteration.
    """

    name: str
    curves: dict[str, dict[str, list[tuple[int, float]]]] = field(default_factory=dict)

    def modules(self) -> list[str]:
        """Modules in the order in which they were logged."""
        names: dict[str, None] = {}
        for by_module in self.curves.values():
            names.update(dict.fromkeys(by_module))
        return list(names)


def read_history(work_dir: str | Path) -> History:
    """All ``*/vis_data/scalars.json`` below ``work_dir``, resumed runs joined.

    Where a resumed run repeats iterations, the later log counts.

    Raises:
        FileNotFoundError: no log with AGVM's scalars.
    """
    folder = Path(work_dir)
    merged: dict[tuple[str, str], dict[int, float]] = {}
    for path in find_scalars(folder):
        for entry in parse_lines(read_lines(path)):
            for key, value in entry.items():
                place = _place(key)
                if place is not None and isinstance(value, (int, float)) and math.isfinite(value):
                    merged.setdefault(place, {})[int(entry['step'])] = float(value)
    if not merged:
        raise FileNotFoundError(
            f"{folder} holds no */vis_data/scalars.json with AGVM's curves; give the work "
            'directory of a run with AGVMOptimWrapper.'
        )
    history = History(folder.resolve().name)
    for (quantity, module), curve in merged.items():
        history.curves.setdefault(quantity, {})[module] = sorted(curve.items())
    return history


def _place(key: str) -> tuple[str, str] | None:
    """``agvm/phi/neck`` -> ('phi', 'neck'); ``agvm/neck.lr`` -> ('lr', 'neck')."""
    if not key.startswith('agvm/'):
        return None
    rest = key[len('agvm/') :]
    if rest.endswith('.lr'):
        return 'lr', rest[: -len('.lr')]
    quantity, _, module = rest.partition('/')
    return (quantity, module) if quantity in QUANTITIES and module else None
