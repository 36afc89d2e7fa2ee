"""A table's cells joined with what was measured."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .cell import Cell
from .commands import Hardware, Plan, PlanError, plan_of
from .figures import Figure, Place
from .recipes import METHODS
from .runs import Run, find_runs
from .table import Table


@dataclass(frozen=True)
class Row:
    """One cell of a table.

    Args:
        model: algorithm and backbone.
        method: optimizer, as a reader calls it.
        batch: images of an update.
        config: path of the recipe; empty where a figure is quoted alone.
        figure: what is known; None for a cell that nobody published.
        scores: final scores of the finished runs in the unit of the figure.
        seeds: their seeds, None where a work directory does not name one.
        running: one line for every run without a final score.
        plan: how to train it; None without a recipe, or where the hardware cannot.
        obstacle: why the hardware cannot, in one sentence.
    """

    model: str
    method: str
    batch: int
    config: str
    figure: Figure | None
    scores: tuple[float, ...] = ()
    seeds: tuple[int | None, ...] = ()
    running: tuple[str, ...] = ()
    plan: Plan | None = None
    obstacle: str = ''

    @property
    def mean(self) -> float | None:
        """Mean of the finished runs."""
        return statistics.fmean(self.scores) if self.scores else None

    @property
    def spread(self) -> float | None:
        """Sample standard deviation of the finished runs, from two on."""
        return statistics.stdev(self.scores) if len(self.scores) > 1 else None

    @property
    def difference(self) -> float | None:
        """Measured less known."""
        if self.mean is None or self.figure is None or self.figure.value is None:
            return None
        return self.mean - self.figure.value


def rows_of(
    table: Table,
    configs: Path,
    work_root: Path,
    seed: int = 0,
    hardware: Hardware | None = None,
) -> list[Row]:
    """The rows of a table: model, then batch, then method.

    Args:
        table: the table.
        configs: folder of the recipes.
        work_root: folder of the work directories; it need not exist.
        seed: seed that the commands name.
        hardware: see :func:`.commands.plan_of`.

    Raises:
        ValueError: see :func:`.runs.find_runs`.
    """
    cells = table.cells(configs)
    rows = []
    for place in sorted({*cells, *table.figures}, key=_order):
        cell = cells.get(place)
        if cell is None:
            rows.append(_quote(table, place))
        else:
            config = f'{configs.name}/{cell.recipe.path.relative_to(configs)}'
            known = table.times.get(place)
            try:
                plan: Plan | PlanError = plan_of(cell, config, work_root, seed, hardware, known)
            except PlanError as error:
                plan = error
            runs = find_runs(work_root, cell.name, table.key, batch=cell.batch)
            rows.append(_row(table, place, cell, config, plan, runs))
    return rows


def _order(place: Place) -> tuple[str, int, int]:
    model, method, batch = place
    names = list(METHODS)
    return model, batch, names.index(method) if method in names else len(names)


def _quote(table: Table, place: Place) -> Row:
    model, method, batch = place
    return Row(model, METHODS.get(method, method.upper()), batch, '', table.figures[place])


def _row(
    table: Table,
    place: Place,
    cell: Cell,
    config: str,
    plan: Plan | PlanError,
    runs: Sequence[Run],
) -> Row:
    done = [run for run in runs if run.finished and run.value is not None]
    return Row(
        model=cell.recipe.model,
        method=METHODS.get(cell.method, cell.method),
        batch=cell.batch,
        config=config,
        figure=table.figures.get(place),
        scores=tuple(table.scale * run.value for run in done if run.value is not None),
        seeds=tuple(run.seed for run in done),
        running=tuple(_progress(run, table.scale) for run in runs if run not in done),
        plan=plan if isinstance(plan, Plan) else None,
        obstacle='' if isinstance(plan, Plan) else str(plan),
    )


def _progress(run: Run, scale: float) -> str:
    name = '' if run.seed is None else f'seed {run.seed}: '
    score = '' if run.value is None else f', {scale * run.value:.1f} so far'
    return f'{name}{run.progress}{score}'
