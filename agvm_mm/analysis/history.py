"""The per-module curves of a run, from its work directory or from what was kept of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from agvm_runs.work_dir import find_scalars, module_curve, parse_lines, read_lines, read_result

Curves = dict[str, dict[str, list[tuple[int, float]]]]


@dataclass
class History:
    """Curves of one run.

    Args:
        name: of the work directory or of the file.
        curves: quantity -> module -> [(iteration, value)], in order of iteration.
    """

    name: str
    curves: Curves = field(default_factory=dict)

    def modules(self) -> list[str]:
        """Modules in the order in which they were logged."""
        names: dict[str, None] = {}
        for by_module in self.curves.values():
            names.update(dict.fromkeys(by_module))
        return list(names)


def read_history(run: str | Path) -> History:
    """The curves of the last run of a work directory, its launches joined, or of one result.

    Where a resumed run repeats iterations, the later log counts.

    Args:
        run: folder with ``*/vis_data/scalars.json``, or a JSON file of lab/miniature.py.

    Raises:
        FileNotFoundError: no log with AGVM's scalars.
        ValueError: the file is not a result.
    """
    path = Path(run)
    history = History(path.resolve().stem if path.is_file() else path.resolve().name)
    history.curves = _kept(path) if path.is_file() else _logged(path)
    if not history.curves:
        raise FileNotFoundError(
            f"{path} holds no */vis_data/scalars.json with AGVM's curves; give the work "
            'directory of a run with AGVMOptimWrapper, or its result as JSON.'
        )
    return history


def _kept(path: Path) -> Curves:
    curves: Curves = {}
    for quantity, by_module in read_result(path).get('modules', {}).items():
        for module, curve in by_module.items():
            curves.setdefault(quantity, {})[module] = [
                (int(step), float(value))
                for step, value in curve
                if value is not None and math.isfinite(value)
            ]
    return curves


def _logged(folder: Path) -> Curves:
    merged: dict[tuple[str, str], dict[int, float]] = {}
    for path in find_scalars(folder):
        for entry in parse_lines(read_lines(path)):
            for key, value in entry.items():
                place = module_curve(key)
                if place is not None and isinstance(value, (int, float)) and math.isfinite(value):
                    merged.setdefault(place, {})[int(entry['step'])] = float(value)
    curves: Curves = {}
    for (quantity, module), curve in merged.items():
        curves.setdefault(quantity, {})[module] = sorted(curve.items())
    return curves
