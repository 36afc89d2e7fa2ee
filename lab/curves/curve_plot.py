"""Curves of several runs, one colour a kind of run, as PNG and SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import pyplot

from agvm_runs.style import (  # also chooses the backend without a display
    colour,
    marker,
    save,
)
from agvm_runs.work_dir import score_of

from .targets import Course, moving_mean

CLOCK_LABELS = {'seconds': 'seconds trained', 'cpu_seconds': 'CPU seconds trained'}

Curve = Sequence[tuple[float, float]]
"""Points of a line."""


def plot_curves(
    runs: Sequence[Mapping[str, Any]],
    metrics: Mapping[str, str],
    out: str | Path,
    clock: str = 'cpu_seconds',
) -> list[Path]:
    """Scores against time trained: one panel a metric, one line a run, one colour an arm.

    Args:
        runs: each with its 'arm' and its 'curve', the lines of ``TrainingClockHook``.
        metrics: label of the vertical axis by key.
        out: path without suffix; '.png' and '.svg' are written.
        clock: 'seconds' or 'cpu_seconds', the horizontal axis.
    """
    panels = {
        label: [
            [(point[clock], score_of(point['metrics'], key)) for point in run['curve']]
            for run in runs
        ]
        for key, label in metrics.items()
    }
    return _draw([run['arm'] for run in runs], panels, CLOCK_LABELS[clock], out)


def plot_courses(
    courses: Sequence[Course], window: int, metric: str, out: str | Path
) -> list[Path]:
    """Loss, the mean over ``window`` updates, and score against optimizer updates.

    Args:
        courses: one line each, one colour a recipe.
        window: in updates.
        metric: name of the score, for the vertical axis.
        out: path without suffix; '.png' and '.svg' are written.
    """
    panels = {
        f'loss, mean of {window} updates': [
            list(moving_mean(course.losses, window)) for course in courses
        ],
        metric: [course.scores for course in courses],
    }
    return _draw([course.recipe for course in courses], panels, 'optimizer updates', out)


def _draw(
    names: Sequence[str], panels: Mapping[str, Sequence[Curve]], x_label: str, out: str | Path
) -> list[Path]:
    """Panels by the label of their vertical axis, a curve for every name."""
    kinds = list(dict.fromkeys(names))
    width = 4.5 * len(panels)
    figure, axes = pyplot.subplots(
        1, len(panels), figsize=(width, 3.6), layout='constrained', squeeze=False
    )
    for panel, (label, curves) in zip(axes[0], panels.items()):
        labelled = set()
        for name, curve in zip(names, curves):
            i = kinds.index(name)
            panel.plot(
                [x for x, _ in curve],
                [y for _, y in curve],
                color=colour(i),
                marker=marker(i) if len(curve) <= 50 else '',  # more would hide the line
                markersize=3,
                linewidth=1,
                label=None if name in labelled else name,
            )
            labelled.add(name)
        panel.set_xlabel(x_label)
        panel.set_ylabel(label)
        panel.grid(alpha=0.3)
    handles, texts = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, texts, loc='outside upper center')  # names of recipes are long
    return save(figure, out)
