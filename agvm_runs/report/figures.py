"""The figures of the page, as SVG to be put into HTML."""

from __future__ import annotations

import io
import re

import matplotlib
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..curves.history import History
from ..curves.plot import LABELS, draw_curves, y_axis
from ..curves.series import Series, thin
from ..style import colour
from .run import Run

MOST_CURVES = 8
WIDTH = 9.0
# Ids of groups are the same in every SVG and referred to by none.
GROUP_ID = re.compile(r'<g id="[^"]*"')
NO_METADATA = dict.fromkeys(('Creator', 'Date', 'Format', 'Type'))


def to_svg(figure: Figure, salt: str) -> str:
    """An ``<svg>`` element without a link to anything outside; closes the figure.

    Args:
        figure: to draw.
        salt: makes the ids of this figure differ from those of others on the page.
    """
    text = io.StringIO()
    with matplotlib.rc_context({'svg.hashsalt': salt}):
        figure.savefig(text, format='svg', metadata=NO_METADATA)
    pyplot.close(figure)
    svg = text.getvalue()
    return GROUP_ID.sub('<g', svg[svg.index('<svg') :])


def training_figure(run: Run) -> Figure:
    """Losses on the left, scores on the right."""
    figure, axes = pyplot.subplots(1, 2, figsize=(WIDTH, 3.1), layout='constrained')
    _draw(axes[0], run.losses, 'loss')
    axes[0].set_xlabel('iteration')
    _draw(axes[1], main_scores(run), 'score')
    axes[1].set_xlabel('epoch' if 'epoch' in run.last else 'iteration')
    axes[1].set_ylim(bottom=0)
    return figure


def main_scores(run: Run) -> dict[str, Series]:
    """The main ones of a run's scores."""
    return choose_scores(run.scores)


def choose_scores(scores: dict[str, Series]) -> dict[str, Series]:
    """Mean AP, mIoU and the like; all scores where none has such a name."""
    chosen = {
        key: curve
        for key, curve in scores.items()
        if re.search(r'mAP(_50|_75)?$|mIoU$|mAcc$|PQ$', key)
    }
    return chosen or scores


def _draw(axes: Axes, curves: dict[str, Series], label: str) -> None:
    for i, (name, curve) in enumerate(list(curves.items())[:MOST_CURVES]):
        drawn = thin(curve)
        axes.plot(
            drawn.steps,
            drawn.values,
            marker='o' if len(curve) < 20 else '',
            ms=4,
            lw=1.3,
            color=colour(i),
            label=name,
        )
    axes.set_ylabel(label)
    axes.grid(alpha=0.3)
    if curves:
        axes.legend(fontsize='small')


def variance_figure(history: History) -> Figure:
    """Phi, noise scale, learning-rate scale and learning rate of every module."""
    figure, axes = pyplot.subplots(2, 2, figsize=(WIDTH, 5.4), sharex=True, layout='constrained')
    for panel, quantity in zip(axes.flat, LABELS):
        panel.set_visible(bool(history.curves.get(quantity)))
        y_axis(panel, quantity, draw_curves(panel, history, quantity, history.modules()))
    for panel in axes[-1]:
        panel.set_xlabel('iteration')
    handles, labels = axes[0][0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc='outside upper center', ncols=4, fontsize='small')
    return figure
