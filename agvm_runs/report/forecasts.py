"""The predictions of predict_batch_size.py beside what the run has logged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ..predictions.draw import prediction_figure
from ..predictions.window import errors, pooled
from . import elements as e
from .figures import WIDTH, to_svg
from .run import Run


def forecasts(run: Run) -> Iterator[str]:
    """The section of a run with predictions."""
    yield e.heading('Prediction against measurement')
    for i, result in enumerate(run.predictions):
        plan = result['plan']
        small = plan['images'] * plan['samples']
        yield e.paragraph(
            f'From {plan.get("updates", "-")} updates of {small} images of {result["name"]}, '
            f'{len(result["seeds"])} seed(s).'
        )
        caption = 'Phi over the batch: predicted from the small batch, and measured.'
        yield e.figure(to_svg(_forecast_figure(result), f'prediction{i}'), caption)
        yield e.table(
            ('module', f'phi at this run’s batch ({run.batch}), predicted', 'logged at the end'),
            list(_at_this_batch(run, result)),
        )
        if 'measured' in result['seeds'][0]:
            yield _errors(result)


def _forecast_figure(result: dict[str, Any]) -> Figure:
    """The figure of the prediction, as wide as the others."""
    figure = prediction_figure(result)
    height = figure.get_figheight() * WIDTH / figure.get_figwidth()
    figure.set_size_inches(WIDTH, max(height, 2.8))
    return figure


def _at_this_batch(run: Run, result: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    logged = run.history.curves.get('phi', {}) if run.history is not None else {}
    phi, low, high = pooled(result).phi_at(run.batch)
    for i, name in enumerate(result['modules']):
        predicted = f'{phi[i]:.3f} ({low[i]:.3f} to {high[i]:.3f})'
        yield name, predicted, e.number(logged[name][-1][1]) if logged.get(name) else '-'


def _errors(result: dict[str, Any]) -> str:
    found = errors(result, 'window')
    return e.table(
        ('phi, predicted / measured - 1', *(f'batch {batch}' for batch in found)),
        [
            (name, *(f'{100 * float(np.mean(rows[:, i])):+.1f} %' for rows in found.values()))
            for i, name in enumerate(result['modules'])
        ],
    )
