"""Curves of the modules over training, as PNG and SVG, without a display."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..style import colour, logarithmic, marker, save
from ..work_dir import FileError
from .bands import band
from .history import History
from .series import LARGEST, Series, envelope, thin

LABELS = {
    'phi': 'normalised variance φ',
    'noise_scale': 'noise scale (images)',
    'scale': 'learning-rate scale μ',
    'lr': 'learning rate',
}
MARK = 'agvm_mm figure of variances'
LOGARITHMIC = ('noise_scale', 'lr')
BEYOND = 1e6  # an endless interval ends in a figure at this many times its largest finite number


def plot_histories(
    histories: Sequence[History], quantities: Sequence[str], out: str | Path
) -> list[Path]:
    """One column a run, one row a quantity; rows share their axes.

    Args:
        histories: the runs.
        quantities: keys of :data:`LABELS`.
        out: path without suffix; '.png' and '.svg' are written.
    """
    return save(figure_of(histories, quantities), out, MARK)


def figure_of(histories: Sequence[History], quantities: Sequence[str]) -> Figure:
    """The figure of :func:`plot_histories`, without the rows that no run has logged.

    Raises:
        FileError: that are all of them.
    """
    logged = [q for q in quantities if any(history.curves.get(q) for history in histories)]
    if not logged:
        names = ' and '.join(history.name for history in histories)
        raise FileError(f'{names} logged no {" and no ".join(quantities)}: nothing to draw.')
    quantities = logged
    figure, axes = pyplot.subplots(
        len(quantities),
        len(histories),
        figsize=(1.2 + 4.2 * len(histories), 0.9 + 2.1 * len(quantities)),
        sharex='col',
        sharey='row',
        squeeze=False,
        layout='constrained',
    )
    modules = list(dict.fromkeys(name for history in histories for name in history.modules()))
    for panels, quantity in zip(axes, quantities):
        shown = [
            value
            for panel, history in zip(panels, histories)
            for value in draw_curves(panel, history, quantity, modules)
        ]
        y_axis(panels[0], quantity, shown)
    for column, history in enumerate(histories):
        axes[0][column].set_title(history.name, fontsize='medium', wrap=True)
        axes[-1][column].set_xlabel('iteration')
    handles = {
        label: handle
        for panel in axes.flat
        for handle, label in zip(*panel.get_legend_handles_labels())
    }
    figure.legend(
        handles.values(), handles.keys(), loc='outside upper center', ncols=4, fontsize='small'
    )
    return figure


def draw_curves(axes: Axes, history: History, quantity: str, modules: Sequence[str]) -> list[float]:
    """The curves of one quantity, a band about each where the run tells its error.

    Returns:
        All finite values that were drawn, for :func:`y_axis`.
    """
    shown: list[float] = []
    for module, curve in history.curves.get(quantity, {}).items():
        i = modules.index(module)
        drawn = thin(curve)
        axes.plot(
            drawn.steps,
            drawn.values,
            color=colour(i),
            marker=marker(i),
            markevery=max(1, len(drawn) // 10),
            markersize=4,
            linewidth=1.3,
            label=module,
        )
        shown += drawn.values[np.isfinite(drawn.values)].tolist()
        shown += _shade(axes, history, quantity, module, colour(i))
    axes.grid(alpha=0.3)
    return shown


def y_axis(axes: Axes, quantity: str, shown: Sequence[float]) -> None:
    """The y axis of a quantity, over the values drawn on all panels that share it."""
    axes.set_ylabel(LABELS[quantity])
    if quantity in LOGARITHMIC:
        logarithmic(axes, shown)


def _shade(axes: Axes, history: History, quantity: str, module: str, shade: str) -> list[float]:
    """Draw the band; the finite ends of it."""
    found = band(history, quantity, module)
    if not found:
        return []
    low, high = found.columns
    ends = np.concatenate(found.columns)
    ends = ends[np.abs(ends) < LARGEST / BEYOND]
    endless = BEYOND * ends.max(initial=1.0)
    drawn = envelope(Series(found.steps, low, np.where(np.isfinite(high), high, endless)))
    low, high = drawn.columns
    axes.fill_between(drawn.steps, low, high, color=shade, alpha=0.18, linewidth=0)
    return [ends.min(), ends.max()] if len(ends) else []
