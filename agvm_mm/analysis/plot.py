"""Curves of the modules over training, as PNG and SVG, without a display."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use('Agg')

from matplotlib import pyplot  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402

from .history import History  # noqa: E402

# Okabe and Ito's colours, told apart by colour-blind readers, and a marker besides.
COLOURS = ('#0072B2', '#E69F00', '#009E73', '#D55E00', '#CC79A7', '#56B4E9', '#000000', '#F0E442')
MARKERS = ('o', 's', '^', 'D', 'v', 'P', 'X', '*')

LABELS = {
    'phi': 'normalised variance φ',
    'noise_scale': 'noise scale (images)',
    'factor': 'learning-rate factor μ',
    'lr': 'learning rate',
}
LOGARITHMIC = ('noise_scale', 'lr')


def plot_histories(
    histories: Sequence[History], quantities: Sequence[str], out: str | Path
) -> list[Path]:
    """One column a run, one row a quantity; rows share their axes.

    Args:
        histories: the runs.
        quantities: keys of :data:`LABELS`.
        out: path without suffix; '.png' and '.svg' are written.
    """
    figure, axes = pyplot.subplots(
        len(quantities),
        len(histories),
        figsize=(1.2 + 4.6 * len(histories), 0.6 + 2.3 * len(quantities)),
        sharex='col',
        sharey='row',
        squeeze=False,
        layout='constrained',
    )
    for column, history in enumerate(histories):
        for row, quantity in enumerate(quantities):
            _draw(axes[row][column], history, quantity)
            if column == 0:
                axes[row][column].set_ylabel(LABELS[quantity])
        axes[0][column].set_title(history.name)
        axes[-1][column].set_xlabel('iteration')
    axes[0][0].legend(fontsize='small', ncols=2)
    paths = [Path(out).with_suffix(suffix) for suffix in ('.png', '.svg')]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)
    pyplot.close(figure)
    return paths


def _draw(axes: Axes, history: History, quantity: str) -> None:
    modules = history.modules()
    for module, curve in history.curves.get(quantity, {}).items():
        i = modules.index(module)
        steps, values = zip(*curve)
        axes.plot(
            steps,
            values,
            color=COLOURS[i % len(COLOURS)],
            marker=MARKERS[i % len(MARKERS)],
            markevery=max(1, len(steps) // 10),
            markersize=4,
            linewidth=1.3,
            label=module,
        )
    if quantity in LOGARITHMIC:
        axes.set_yscale('log')
    axes.grid(alpha=0.3)
