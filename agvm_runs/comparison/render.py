"""Tables and the figure of a comparison."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..curves.series import Series, thin
from ..markdown import markdown_table
from ..report.figures import choose_scores
from ..style import colour, marker
from ..work_dir import SCOPE
from .courses import Course

MARK = 'agvm_mm comparison'
CLOCKS = {'updates': 'updates', 'images': 'images', 'seconds': 'seconds of training'}
SAME_EVERYWHERE = ('work_dir', 'experiment_name', 'launcher', 'resume', 'visualizer')
LONGEST = 60  # characters of a value
MANY = 20  # points of a curve that has no markers


def difference_table(courses: Sequence[Course]) -> str:
    """The settings that are not the same in all runs, one row each; empty if there are none."""
    flat = [dict(_leaves('', course.settings)) for course in courses]
    keys = dict.fromkeys(key for settings in flat for key in settings)
    rows = []
    for key in keys:
        values = [settings.get(key) for settings in flat]
        if key.split('.')[0] not in SAME_EVERYWHERE and any(v != values[0] for v in values):
            rows.append([key, *map(_short, values)])
    return markdown_table(['setting', *(c.name for c in courses)], rows) if rows else ''


def result_table(courses: Sequence[Course]) -> str:
    """Batch, updates, last loss, time, and of each main score the last and the best."""
    metrics = list(dict.fromkeys(key for course in courses for key in _scores(course)))
    head = ['run', 'batch', 'updates', 'loss', 'time', *(f'{key}, last (best)' for key in metrics)]
    return markdown_table(head, [_result(course, metrics) for course in courses])


def compare_figure(courses: Sequence[Course], clock: str = 'updates') -> Figure:
    """Loss and main scores, one line a run; a quantity that no run has gets no panel.

    Args:
        courses: the runs.
        clock: a key of :data:`CLOCKS`, the horizontal axis.
    """
    metrics = list(dict.fromkeys(key for course in courses for key in _scores(course)))
    panels = {'loss': [course.loss for course in courses]} | {
        key: [course.scores.get(key, Series([], [])) for course in courses] for key in metrics
    }
    panels = {name: curves for name, curves in panels.items() if any(map(len, curves))}
    figure, axes = pyplot.subplots(
        1, len(panels), figsize=(4.5 * len(panels), 3.6), layout='constrained', squeeze=False
    )
    for axis, (name, curves) in zip(axes[0], panels.items()):
        for i, (course, curve) in enumerate(zip(courses, curves)):
            drawn = thin(curve)
            few = len(curve) < MANY
            x = _clock(course, drawn.steps, clock)
            axis.plot(x, drawn.values, color=colour(i), marker=marker(i) if few else '', ms=4)
        axis.set_xlabel(CLOCKS[clock])
        axis.set_ylabel(name)
        axis.grid(alpha=0.3)
    handles = axes[0][0].get_lines()
    figure.legend(handles, [course.name for course in courses], loc='outside upper center')
    return figure


def _clock(course: Course, updates: NDArray[np.int64], clock: str) -> NDArray[np.float64]:
    if clock == 'seconds':
        found = np.interp(updates, course.seconds.steps, course.seconds.values)
        return np.asarray(found, np.float64)
    return updates.astype(np.float64) * (course.batch if clock == 'images' else 1)


def _scores(course: Course) -> dict[str, Series]:
    return choose_scores(course.scores)


def _result(course: Course, metrics: Sequence[str]) -> list[str]:
    minutes = course.seconds.values[-1] / 60 if len(course.seconds) else 0.0
    loss = f'{course.loss.values[-1]:.4g}' if len(course.loss) else '-'
    cells = [course.name, str(course.batch), str(course.updates), loss, f'{minutes:.1f} min']
    for key in metrics:
        curve = course.scores.get(key)
        shown = f'{curve.values[-1]:.3f} ({curve.values.max():.3f})' if curve else '-'
        cells.append(shown)
    return cells


def _leaves(where: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, entry in value.items():
            if key != SCOPE:
                yield from _leaves(f'{where}.{key}' if where else str(key), entry)
    elif isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
        for index, entry in enumerate(value):
            yield from _leaves(f'{where}[{index}]', entry)
    else:
        yield where, value


def _short(value: Any) -> str:
    text = '-' if value is None else str(value)
    return text if len(text) <= LONGEST else f'{text[: LONGEST - 3]}...'
