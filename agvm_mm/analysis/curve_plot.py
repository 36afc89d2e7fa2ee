"""Score against time trained, as PNG and SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import pyplot

from agvm_mm.work_dir import score_of

from .style import colour, marker, save  # also chooses the backend without a display

CLOCK_LABELS = {'seconds': 'seconds trained', 'cpu_seconds': 'CPU seconds trained'}


def plot_curves(
    runs: Sequence[Mapping[str, Any]],
    metrics: Mapping[str, str],
    out: str | Path,
    clock: str = 'cpu_seconds',
) -> list[Path]:
    """One panel a metric, one line a run, one colour an arm.

    Args:
        runs: each with its 'arm' and its 'curve', the lines of ``TrainingClockHook``.
        metrics: label of the vertical axis by key.
        out: path without suffix; '.png' and '.svg' are written.
        clock: 'seconds' or 'cpu_seconds', the horizontal axis.
    """
    arms = list(dict.fromkeys(run['arm'] for run in runs))
    width = 4.5 * len(metrics)
    figure, axes = pyplot.subplots(
        1, len(metrics), figsize=(width, 3.6), layout='constrained', squeeze=False
    )
    for panel, (key, label) in zip(axes[0], metrics.items()):
        labelled = set()
        for run in runs:
            i, curve = arms.index(run['arm']), run['curve']
            panel.plot(
                [point[clock] for point in curve],
                [score_of(point['metrics'], key) for point in curve],
                color=colour(i),
                marker=marker(i),
                markersize=3,
                linewidth=1,
                label=None if run['arm'] in labelled else run['arm'],
            )
            labelled.add(run['arm'])
        panel.set_xlabel(CLOCK_LABELS[clock])
        panel.set_ylabel(label)
        panel.grid(alpha=0.3)
    axes[0][0].legend()
    return save(figure, out)
