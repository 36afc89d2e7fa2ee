"""The benchmark's figure, from its files alone."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib import pyplot
from matplotlib.axes import Axes

from agvm_runs.style import colour, logarithmic, marker, save

from .cells import Cell
from .methods import AGVM, title_of
from .table import MISSED, SHARE, baseline, baseline_cell, relative_costs
from .target import Cost


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
    level, smallest = baseline(shown, folder, seeds), baseline_cell(shown)
    ratios = relative_costs(shown, folder, seeds, share)
    rows = 2 if ratios else 1
    figure, panels = pyplot.subplots(
        rows, figsize=(7, 3 * rows + 0.3), sharex=True, squeeze=False, layout='constrained'
    )
    places = {method: i for i, method in enumerate(dict.fromkeys(cell.method for cell in shown))}
    _draw_scores(panels[0, 0], places, shown, folder, seeds)
    if level is not None and smallest is not None:
        name = f'{title_of(smallest.method)} at {smallest.batch}'
        panels[0, 0].axhline(level, color='0.5', linewidth=0.8, linestyle='--', label=name)
    if ratios and level is not None:
        _draw_costs(panels[1, 0], places, ratios)
        panels[1, 0].set_ylabel(f'to {cells[0].key} {share * level:.1f}, relative')
    batches = sorted({cell.batch for cell in shown})
    for axes in panels[:, 0]:
        batch_axis(axes, batches)
    panels[-1, 0].set_xlabel('images of an update')
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc='outside right upper')
    return save(figure, out)


def batch_axis(axes: Axes, batches: Sequence[int]) -> None:
    """An x axis in powers of two that names these batches."""
    axes.set_xscale('log', base=2)
    axes.set_xticks(batches, [str(batch) for batch in batches])
    axes.minorticks_off()
    axes.grid(alpha=0.3)


def draw_method(
    axes: Axes, i: int, method: str, points: Sequence[tuple[int, float, float]]
) -> None:
    """The line of the i-th method, dashed with AGVM: batch, mean score and its spread."""
    batches, means, spreads = zip(*points)
    axes.errorbar(
        batches,
        means,
        spreads,
        color=colour(i),
        marker=marker(i),
        markersize=4,
        linewidth=1,
        capsize=2,
        linestyle='--' if method.startswith(AGVM) else '-',
        label=title_of(method),
    )


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
            draw_method(axes, i, method, sorted(points))
    axes.set_ylabel(cells[0].key)


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
        f'{title_of(name)} at {", ".join(batches)}' for name, batches in missed.items() if batches
    )
    if text:
        axes.set_title(textwrap.fill(f'{MISSED}: {text}', 90), fontsize='x-small', loc='left')
