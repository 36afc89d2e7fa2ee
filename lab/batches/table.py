"""The benchmark's table and figure, from its files alone."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from matplotlib import pyplot
from matplotlib.axes import Axes

from agvm_runs.markdown import markdown_table
from agvm_runs.style import colour, logarithmic, marker, save

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


def plot(
    cells: Sequence[Cell], folder: Path, seeds: Sequence[int], out: Path, share: float = SHARE
) -> list[Path]:
    """Score against batch, and below it updates and CPU time to a fixed score.

    Args:
        cells: of the figure; those without a score, or with another rate for some modules, are
            left out.
        folder: of the results.
        seeds: of the scores.
        out: path without suffix; '.png' and '.svg' are written.
        share: of the baseline's score that the costs are counted to.
    """
    shown = [cell for cell in cells if cell.others == 1]
    level = baseline(shown, folder, seeds)
    ratios = relative_costs(shown, folder, seeds, share)
    rows = 2 if ratios else 1
    figure, panels = pyplot.subplots(
        rows, figsize=(6, 3.5 * rows + 0.5), sharex=True, squeeze=False, layout='constrained'
    )
    places = {method: i for i, method in enumerate(dict.fromkeys(cell.method for cell in shown))}
    _draw_scores(panels[0, 0], places, shown, folder, seeds)
    if level is not None:
        panels[0, 0].axhline(level, color='0.5', linewidth=0.8, linestyle='--')
    if ratios and level is not None:
        _draw_costs(panels[1, 0], places, ratios)
        panels[1, 0].set_ylabel(f'to {cells[0].key} {share * level:.1f}, relative to the baseline')
    batches = sorted({cell.batch for cell in shown})
    for axes in panels[:, 0]:
        axes.set_xscale('log', base=2)
        axes.set_xticks(batches, [str(batch) for batch in batches])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    panels[-1, 0].set_xlabel('images of an update')
    return save(figure, out)


def _draw_scores(
    axes: Axes,
    places: Mapping[str, int],
    cells: Sequence[Cell],
    folder: Path,
    seeds: Sequence[int],
) -> None:
    """A line a method with its spread; its place gives colour and marker."""
    for method, i in places.items():
        points = []
        for cell in (cell for cell in cells if cell.method == method):
            scores = [one['scores'][cell.key] for one in cell.scores(folder, seeds)]
            if scores:
                spread = statistics.stdev(scores) if len(scores) > 1 else 0.0
                points.append((cell.batch, statistics.fmean(scores), spread))
        if points:
            batches, means, spreads = zip(*sorted(points))
            axes.errorbar(
                batches,
                means,
                spreads,
                color=colour(i),
                marker=marker(i),
                markersize=4,
                linewidth=1,
                capsize=2,
                label=method,
            )
    axes.set_ylabel(cells[0].key)
    axes.legend()


def _draw_costs(axes: Axes, places: Mapping[str, int], ratios: Mapping[Cell, Cost | None]) -> None:
    """Two lines a method, updates and CPU time, and the names of what misses the score."""
    for method, i in places.items():
        points = sorted(
            (cell.batch, *cost)
            for cell, cost in ratios.items()
            if cell.method == method and cost is not None
        )
        for column, style in ((1, '-'), (2, ':')) if points else ():
            axes.plot(
                [point[0] for point in points],
                [point[column] for point in points],
                color=colour(i),
                marker=marker(i),
                markersize=4,
                linewidth=1,
                linestyle=style,
            )
    logarithmic(axes, [value for cost in ratios.values() if cost for value in cost])
    for label, style in (('updates', '-'), ('CPU time', ':')):
        axes.plot([], [], color='0.3', linestyle=style, label=label)
    axes.legend(fontsize='small')
    missed = {
        method: [str(cell.batch) for cell in ratios if cell.method == method and not ratios[cell]]
        for method in places
    }
    text = '; '.join(
        f'{name} at {", ".join(batches)}' for name, batches in missed.items() if batches
    )
    if text:
        axes.set_title(textwrap.fill(f'{MISSED}: {text}', 90), fontsize='x-small', loc='left')
