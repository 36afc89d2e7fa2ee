"""Phi of backbone and head over training, one panel a step, one row a detector."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import pyplot
from matplotlib.axes import Axes

from agvm_runs.quantiles import NORMAL_95
from agvm_runs.style import colour, save

from .steps import BACKBONE, apart, curve, row


def draw_steps(results: Sequence[dict[str, Any]], out: str | Path, width: int = 20) -> list[Path]:
    """Draw what :func:`lab.explain.steps.measure` gave.

    Args:
        results: the steps, in order.
        out: path without suffix; '.png' and '.svg' are written.
        width: estimates of the sliding window.
    """
    families = list(dict.fromkeys(result['family'] for result in results))
    table = [[r for r in results if r['family'] == family] for family in families]
    columns = max(map(len, table))
    figure, axes = pyplot.subplots(
        len(table),
        columns,
        figsize=(0.6 + 2.5 * columns, 0.5 + 2.5 * len(table)),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout='constrained',
    )
    for panels, steps in zip(axes, table):
        for panel, result in zip(panels, steps):
            _draw_step(panel, result, width)
        for panel in panels[len(steps) :]:
            panel.axis('off')
        panels[0].legend(fontsize='small', loc='best')
        panels[0].set_ylabel(f'{steps[0]["family"]}\nnormalised variance φ')
    for column in range(columns):
        last = max(k for k, steps in enumerate(table) if len(steps) > column)
        axes[last][column].set_xlabel('update')
        axes[last][column].tick_params(labelbottom=True)
    return save(figure, out)


def _draw_step(axes: Axes, result: dict[str, Any], width: int) -> None:
    shortest = min(len(seed['estimates']) for seed in result['seeds'])
    for i, module in enumerate((BACKBONE, result['head'])):
        points = curve(result, module, min(width, shortest))
        updates, phi, error = zip(*points)
        axes.plot(updates, phi, '-' if i == 0 else '--', color=colour(3 * i), label=module)
        axes.fill_between(
            updates,
            [p - NORMAL_95 * e for p, e in zip(phi, error)],
            [p + NORMAL_95 * e for p, e in zip(phi, error)],
            color=colour(3 * i),
            alpha=0.2,
            linewidth=0,
        )
    distance = f'apart: {apart(row(result), 1)} octaves'
    axes.set_title(f'{result["label"]}\n{distance}', fontsize='medium')
    axes.set_ylim(0, 1.2)
    axes.grid(alpha=0.3)
