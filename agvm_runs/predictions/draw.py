"""Phi over the batch: the prediction with its band, and what was measured."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..quantiles import NORMAL_95
from ..style import colour, marker, save
from .window import Window, number, pooled

COLUMNS = 4
MARK = 'agvm_mm figure of a prediction'


def draw_prediction(result: dict[str, Any], out: str | Path) -> list[Path]:
    """One panel a module, written as PNG and SVG.

    Args:
        result: of :func:`.kept.read`.
        out: path without suffix.
    """
    return save(prediction_figure(result), out, MARK)


def prediction_figure(result: dict[str, Any]) -> Figure:
    """The figure of :func:`draw_prediction`."""
    names = result['modules']
    columns = min(len(names), COLUMNS)
    rows = -(-len(names) // columns)
    figure, axes = pyplot.subplots(
        rows,
        columns,
        figsize=(0.8 + 2.5 * columns, 0.6 + 2.5 * rows),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout='constrained',
    )
    window = pooled(result)
    batches = _batches(result)
    for i, (panel, name) in enumerate(zip(axes.flat, names)):
        _draw_module(panel, result, window, i, batches)
        panel.set_title(name, fontsize='medium')
    for panel in axes.flat[len(names) :]:
        panel.axis('off')
    for panel in axes[-1]:
        panel.set_xlabel('batch (images)')
    for row in axes:
        row[0].set_ylabel('normalised variance φ')
    axes[0][0].legend(fontsize='small', loc='lower left')
    return figure


def _batches(result: dict[str, Any]) -> list[float]:
    small = result['plan']['images'] * result['plan']['samples']
    largest = small * max(result['plan']['multiples'], default=64)
    octaves = math.log2(2 * largest / small)
    return [small * 2 ** (octaves * i / 59) for i in range(60)]


def _draw_module(
    axes: Axes, result: dict[str, Any], window: Window, i: int, batches: list[float]
) -> None:
    curves = [[float(part[i]) for part in window.phi_at(batch)] for batch in batches]
    middle, low, high = zip(*curves)
    axes.plot(batches, middle, color=colour(i), label='predicted')
    axes.fill_between(batches, low, high, color=colour(i), alpha=0.2, linewidth=0, label='95 %')
    axes.plot(
        [window.images], [float(window.phi[i])], marker='o', color=colour(i), linestyle='', ms=5
    )
    for k, seed in enumerate(result['seeds']):
        entries = seed.get('measured', [])
        axes.errorbar(
            [entry['batch'] for entry in entries],
            [number(entry['phi'][i]) for entry in entries],
            [NORMAL_95 * (entry['error'][i] or 0.0) for entry in entries],
            color='black',
            marker=marker(k + 1),
            markersize=4,
            linestyle='',
            elinewidth=0.8,
            label=f'measured, seed {seed["seed"]}' if entries else None,
        )
    axes.set_xscale('log', base=2)
    axes.xaxis.set_major_formatter('{x:.0f}')
    axes.set_ylim(0, 1.25)
    axes.grid(alpha=0.3)
