"""The benchmark's table, from its files alone."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from agvm_runs.markdown import markdown_table

from ..trainings.tuning import mean_text
from .cells import Cell
from .target import Cost, costs

BASELINE = 'sgd'
SHARE = 0.9
MISSED = 'not reached'


def to_markdown(
    cells: Sequence[Cell], folder: Path, seeds: Sequence[int], share: float = SHARE
) -> str:
    """One line a cell: the grid, the best rate, the score, its share of the baseline, the costs.

    The baseline is SGD at the smallest batch of ``cells``. The ratio of CPU times of whole runs is
    to SGD's at the same batch. Updates and CPU time to ``share`` of the baseline's score are
    ratios to the baseline's own.
    """
    level, times = baseline(cells, folder, seeds), _times(cells, folder, seeds)
    ratios = relative_costs(cells, folder, seeds, share)
    lines = []
    for cell in cells:
        tried = cell.tried(folder)
        if not tried:
            continue
        best = cell.best_rate(folder)
        inside = min(tried) < best < max(tried) if best is not None else False
        scores = [one['scores'][cell.key] for one in cell.scores(folder, seeds)]
        time, reference = times.get(cell), times.get(replace(cell, method=BASELINE, others=1.0))
        lines.append(
            [
                cell.method + ('' if cell.others == 1 else f', others x {cell.others:g}'),
                str(cell.batch),
                f'{min(tried):.3g} to {max(tried):.3g} ({len(tried)})',
                f'{best:.3g}' + ('' if inside else ' (edge)'),
                f'{tried[best]:.1f}' if best is not None else '',
                mean_text(scores),
                f'{statistics.fmean(scores) / level:.2f}' if scores and level else '',
                f'{time / reference:.2f}' if time and reference else '',
                *_cost_texts(cell in ratios, ratios.get(cell)),
            ]
        )
    key = cells[0].key
    target = f'{share:.0%} of the baseline' if level is None else f'{key} {share * level:.1f}'
    head = ['method', 'batch', 'rates tried', 'best', f'{key} of the tuning seed', key]
    head += [f'share of the smallest batch of {BASELINE}', 'CPU time']
    head += [f'updates to {target}', f'CPU time to {target}']
    return markdown_table(head, lines)


def _cost_texts(known: bool, ratio: Cost | None) -> list[str]:
    if ratio is None:
        return [MISSED if known else ''] * 2
    return [f'{ratio.updates:.3g}', f'{ratio.seconds:.2f}']


def baseline_cell(cells: Sequence[Cell]) -> Cell | None:
    """SGD at the smallest batch; None where it is not among the cells."""
    own = [cell for cell in cells if cell.method == BASELINE and cell.others == 1]
    return min(own, key=lambda cell: cell.batch) if own else None


def baseline(cells: Sequence[Cell], folder: Path, seeds: Sequence[int]) -> float | None:
    """Mean score of SGD at the smallest batch; None where it has not run."""
    smallest = baseline_cell(cells)
    scores = (
        [one['scores'][smallest.key] for one in smallest.scores(folder, seeds)] if smallest else []
    )
    return statistics.fmean(scores) if scores else None


def relative_costs(
    cells: Sequence[Cell], folder: Path, seeds: Sequence[int], share: float
) -> Mapping[Cell, Cost | None]:
    """Updates and CPU time to a share of the baseline's score, as ratios to the baseline's.

    None where a seed of the cell misses the score; empty where the baseline does.
    """
    level, smallest = baseline(cells, folder, seeds), baseline_cell(cells)
    if level is None or smallest is None:
        return {}
    found = costs(cells, folder, seeds, share * level)
    own = found[smallest]
    if own is None:
        return {}
    return {
        cell: cost and Cost(cost.updates / own.updates, cost.seconds / own.seconds)
        for cell, cost in found.items()
    }


def _times(cells: Sequence[Cell], folder: Path, seeds: Sequence[int]) -> Mapping[Cell, float]:
    """Mean CPU seconds of training at the best rate."""
    found = {}
    for cell in cells:
        seconds = [one['cpu_seconds'] for one in cell.scores(folder, seeds)]
        if seconds:
            found[cell] = statistics.fmean(seconds)
    return found
