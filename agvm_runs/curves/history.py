"""The per-module curves of a run, from its work directory or from what was kept of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..work_dir import find_scalars, module_curve, parse_lines, read_lines, read_result
from .series import Recorder, Series

Curves = dict[str, dict[str, Series]]


@dataclass
class History:
    """Curves of one run.

    Args:
        name: of the work directory or of the file.
        curves: quantity -> module -> [(iteration, value)], in order of iteration.
    """

    name: str
    curves: Curves = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Points of a curve may be given as a list."""
        for by_module in self.curves.values():
            for module, curve in by_module.items():
                if not isinstance(curve, Series):
                    by_module[module] = Series.of(curve)

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
    if path.is_file():
        history = History(path.resolve().stem, _kept(path))
    else:
        recorder = CurveRecorder()
        for log in find_scalars(path):
            for entry in parse_lines(read_lines(log), log):
                recorder.add_entry(entry)
        history = recorder.history(path.resolve().name)
    if not history.curves:
        raise FileNotFoundError(
            f"{path} holds no */vis_data/scalars.json with AGVM's curves; give the work "
            'directory of a run with AGVMOptimWrapper, or its result as JSON.'
        )
    return history


class CurveRecorder:
    """Collects AGVM's curves, entry by entry of the logs."""

    def __init__(self) -> None:
        self._recorder = Recorder()
        self._places: dict[str, tuple[str, str] | None] = {}

    def add_entry(self, entry: Mapping[str, Any]) -> None:
        """The curves' values in one line; those that are not finite are left out."""
        for key, value in entry.items():
            if key not in self._places:
                self._places[key] = module_curve(key)
            place = self._places[key]
            if place is not None and math.isfinite(value):
                self._recorder.add(place, entry['step'], value)

    def history(self, name: str) -> History:
        """What was collected."""
        curves: Curves = {}
        for (quantity, module), series in self._recorder.series().items():
            curves.setdefault(quantity, {})[module] = series
        return History(name, curves)


def _kept(path: Path) -> Curves:
    return {
        quantity: {module: Series.of(_finite(curve)) for module, curve in by_module.items()}
        for quantity, by_module in read_result(path).get('modules', {}).items()
    }


def _finite(curve: list[tuple[int, float | None]]) -> Iterator[tuple[int, float]]:
    """In order of iteration."""
    for step, value in sorted(curve, key=lambda point: point[0]):
        if value is not None and math.isfinite(value):
            yield step, value
