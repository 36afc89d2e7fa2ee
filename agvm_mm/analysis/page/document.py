"""The page: sections in the order in which a reader asks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch

from ...checks import counted
from ..bands import band
from ..predict.forecast import pooled
from ..predict.render import errors
from . import elements as e
from .figures import (
    forecast_figure,
    main_scores,
    to_svg,
    training_figure,
    variance_figure,
)
from .findings import estimates_made, findings
from .run import Run

FACTS = ('Python', 'PyTorch', 'CUDA available', 'GPU 0', 'MMEngine', 'OpenCV', 'GPU number', 'seed')


def render_page(run: Run) -> str:
    """One self-contained HTML document: nothing in it is loaded from elsewhere."""
    sections = (_head, _warnings, _training, _variance, _prediction, _recipe, _environment)
    return e.document(f'{run.name}: report', (part for make in sections for part in make(run)))


def _head(run: Run) -> Iterator[str]:
    yield e.title(run.name, f'Training report of {run.folder}')
    facts = [('images an update', str(run.batch)), ('updates, as last logged', str(run.updates))]
    if 'epoch' in run.last:
        facts.insert(0, ('epochs', str(run.last['epoch'])))
    loss = run.losses.get('loss')
    if loss:
        facts.append(('loss at the end', f'{loss[-1][1]:.3f}'))
    facts += [(f'{name}, last', f'{curve[-1][1]:.3f}') for name, curve in _few_scores(run)]
    yield e.tiles(facts)


def _few_scores(run: Run) -> list[tuple[str, list[tuple[int, float]]]]:
    return list(main_scores(run).items())[:2]


def _warnings(run: Run) -> Iterator[str]:
    yield e.heading('Warnings')
    found = findings(run)
    yield from (e.paragraph(text, 'warning') for text in found)
    if not found:
        yield e.paragraph('None: no skipped estimate, no factor held by the clamp.', 'fine')


def _training(run: Run) -> Iterator[str]:
    yield e.heading('Training')
    yield e.figure(to_svg(training_figure(run), 'training'), 'Losses and scores.')
    if run.scores:
        rows = [
            (name, f'{curve[-1][1]:.3f}', f'{max(v for _, v in curve):.3f}', curve[-1][0])
            for name, curve in run.scores.items()
        ]
        yield e.table(('score', 'last', 'best', 'at'), rows)


def _variance(run: Run) -> Iterator[str]:
    yield e.heading('Gradient variance and factors')
    if run.history is None:
        yield e.paragraph('This run has measured no gradient variance.', 'soft')
        return
    settings = run.agvm
    if settings is not None:
        applied = '' if settings.apply else '; measured only, factors not applied'
        yield e.paragraph(
            f'{settings.estimator}, {estimates_made(run, settings)} estimates, one every '
            f'{settings.interval} updates from update {settings.begin}, averaged with momentum '
            f'{settings.momentum}; anchor {settings.anchor}{applied}.'
        )
    yield e.figure(
        to_svg(variance_figure(run.history), 'variance'),
        'Modules over training; shaded: 95 % from the standard error of phi, where it was logged.',
    )
    yield e.table(
        ('module', 'phi', '95 %', 'noise scale (images)', '95 %', 'factor', 'learning rate'),
        [_module_row(run, module) for module in run.history.modules()],
    )


def _module_row(run: Run, module: str) -> tuple[str, ...]:
    assert run.history is not None
    last = {
        quantity: curves[module][-1][1]
        for quantity, curves in run.history.curves.items()
        if module in curves
    }
    intervals = []
    for quantity in ('phi', 'noise_scale'):
        found = band(run.history, quantity, module)
        intervals.append(f'{_number(found[-1][1])} to {_number(found[-1][2])}' if found else '-')
    phi, scale, factor, rate = (last.get(key) for key in ('phi', 'noise_scale', 'factor', 'lr'))
    return (
        module,
        _number(phi),
        intervals[0],
        _number(scale),
        intervals[1],
        _number(factor),
        '-' if rate is None else f'{rate:.3g}',
    )


def _prediction(run: Run) -> Iterator[str]:
    if not run.predictions:
        return
    yield e.heading('Prediction against measurement')
    for i, result in enumerate(run.predictions):
        plan = result['plan']
        small = plan['images'] * plan['samples']
        yield e.paragraph(
            f'From {plan["updates"]} updates of {small} images of {result["name"]}, '
            f'{len(result["seeds"])} seed(s).'
        )
        caption = 'Phi over the batch: predicted from the small batch, and measured.'
        yield e.figure(to_svg(forecast_figure(result), f'prediction{i}'), caption)
        yield e.table(
            ('module', f'phi at this run’s batch ({run.batch}), predicted', 'logged at the end'),
            list(_at_this_batch(run, result)),
        )
        if all('measured' in seed for seed in result['seeds']):
            yield from _errors(result)


def _at_this_batch(run: Run, result: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    logged = run.history.curves.get('phi', {}) if run.history is not None else {}
    phi, low, high = pooled(result).phi_at(run.batch)
    for i, name in enumerate(result['modules']):
        predicted = f'{phi[i]:.3f} ({low[i]:.3f} to {high[i]:.3f})'
        yield name, predicted, _number(logged[name][-1][1]) if name in logged else '-'


def _errors(result: dict[str, Any]) -> Iterator[str]:
    found = errors(result, 'window')
    yield e.table(
        ('phi, predicted / measured - 1', *(f'batch {batch}' for batch in found)),
        [
            (name, *(f'{100 * float(torch.mean(rows[:, i])):+.1f} %' for rows in found.values()))
            for i, name in enumerate(result['modules'])
        ],
    )


def _recipe(run: Run) -> Iterator[str]:
    yield e.heading('Recipe')
    wrapper = run.wrapper
    optimizer = wrapper.get('optimizer')
    pairs = [('optim_wrapper', wrapper.get('type', '-'))]
    if isinstance(optimizer, dict):
        pairs.append(('optimizer', ', '.join(f'{k}={v}' for k, v in optimizer.items())))
    for key in ('agvm', 'clip_grad'):
        if isinstance(wrapper.get(key), dict):
            pairs.append((key, ', '.join(f'{k}={v}' for k, v in wrapper[key].items())))
    parts = f'{counted(run.ranks, "process")} x {counted(run.accumulation, "micro-batch")}'
    pairs.append(('batch', f'{run.batch} images an update, {parts}'))
    yield e.table((), pairs, numbers_from=2)
    yield e.paragraph('To run it again:', 'soft')
    yield e.code(run.command)
    if run.config:
        yield e.details('The whole config', e.code(run.config))


def _environment(run: Run) -> Iterator[str]:
    yield e.heading('Environment')
    facts = [(name, value) for name, value in run.environment if name in FACTS]
    yield e.table((), facts, numbers_from=2)
    if run.environment:
        yield e.details('All of it', e.table((), run.environment, numbers_from=2))


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return '-'
    return '∞' if math.isinf(value) else f'{value:.3f}' if abs(value) < 100 else f'{value:.0f}'
