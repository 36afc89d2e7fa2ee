"""The benchmark's table and figure, from its files alone."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib import pyplot

from agvm_runs.markdown import markdown_table
from agvm_runs.style import colour, marker, save

from ..trainings.tuning import mean_text
from .cells import KEY, Cell

BASELINE = 'sgd'


def to_markdown(cells: Sequence[Cell], folder: Path, seeds: Sequence[int]) -> str:
    """One line a cell: the grid, the best rate, the score, its share of the baseline, the time.

    The baseline is SGD at the smallest batch of ``cells``. The ratio of CPU times is to SGD's at
    the same batch.
    """
    level, times = baseline(cells, folder, seeds), _times(cells, folder, seeds)
    lines = []
    for cell in cells:
        tried = cell.tried(folder)
        if not tried:
            continue
        best = cell.best_rate(folder)
        inside = min(tried) < best < max(tried) if best is not None else False
        scores = [one['scores'][KEY] for one in cell.scores(folder, seeds)]
        time, reference = times.get(cell), times.get(Cell(BASELINE, cell.batch, cell.images))
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
            ]
        )
    head = ['method', 'batch', 'rates tried', 'best', f'{KEY} of the tuning seed', KEY]
    head += [f'share of the smallest batch of {BASELINE}', 'CPU time']
    return markdown_table(head, lines)


def baseline(cells: Sequence[Cell], folder: Path, seeds: Sequence[int]) -> float | None:
    """Mean score of SGD at the smallest batch; None where it has not run."""
    own = [cell for cell in cells if cell.method == BASELINE and cell.others == 1]
    if not own:
        return None
    smallest = min(own, key=lambda cell: cell.batch)
    scores = [one['scores'][KEY] for one in smallest.scores(folder, seeds)]
    return statistics.fmean(scores) if scores else None


def _times(cells: Sequence[Cell], folder: Path, seeds: Sequence[int]) -> Mapping[Cell, float]:
    """Mean CPU seconds of training at the best rate."""
    found = {}
    for cell in cells:
        seconds = [one['cpu_seconds'] for one in cell.scores(folder, seeds)]
        if seconds:
            found[cell] = statistics.fmean(seconds)
    return found


def plot(cells: Sequence[Cell], folder: Path, seeds: Sequence[int], out: Path) -> list[Path]:
    """Score against batch, a line a method with its spread; the baseline as a level.

    Args:
        cells: of the figure; those without a score are left out.
        folder: of the results.
        seeds: of the scores.
        out: path without suffix; '.png' and '.svg' are written.
    """
    figure, axes = pyplot.subplots(figsize=(6, 4), layout='constrained')
    level = baseline(cells, folder, seeds)
    for i, method in enumerate(dict.fromkeys(cell.method for cell in cells)):
        points = []
        for cell in cells:
            if cell.method == method and cell.others == 1:
                scores = [one['scores'][KEY] for one in cell.scores(folder, seeds)]
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
    if level is not None:
        axes.axhline(level, color='0.5', linewidth=0.8, linestyle='--')
    batches = sorted({cell.batch for cell in cells})
    axes.set_xscale('log', base=2)
    axes.set_xticks(batches, [str(batch) for batch in batches])
    axes.set_xlabel('images of an update')
    axes.set_ylabel(KEY)
    axes.grid(alpha=0.3)
    axes.legend()
    return save(figure, out)
