"""The page: sections in the order in which a reader asks."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ..checks import counted
from ..curves.bands import band
from ..curves.history import History
from ..curves.noise import Noise, noise_scales
from ..curves.series import Series
from ..verdict import Phi, sentences
from . import elements as e
from .figures import main_scores, to_svg, training_figure, variance_figure
from .findings import estimates_made, findings
from .forecasts import forecasts
from .run import Run

MARK = 'agvm_mm report'
FACTS = ('Python', 'PyTorch', 'CUDA available', 'GPU 0', 'MMEngine', 'OpenCV', 'GPU number', 'seed')


def render_page(run: Run) -> str:
    """One self-contained HTML document: nothing in it is loaded from elsewhere."""
    sections = (_head, _verdict, _warnings, _training, _variance, _prediction, _recipe)
    parts = (part for make in (*sections, _environment) for part in make(run))
    return e.document(f'{run.name}: report', parts, MARK)


def _head(run: Run) -> Iterator[str]:
    yield e.title(run.name, f'Training report of {run.folder}')
    facts = [('images an update', str(run.batch)), ('updates, as last logged', str(run.updates))]
    if 'epoch' in run.last:
        facts.insert(0, ('epochs', str(run.last['epoch'])))
    loss = run.losses.get('loss')
    if loss:
        facts.append(('loss at the end', e.number(loss[-1][1])))
    facts += [(f'{name}, last', e.number(curve[-1][1])) for name, curve in _few_scores(run)]
    yield e.tiles(facts)


def _few_scores(run: Run) -> list[tuple[str, Series]]:
    return list(main_scores(run).items())[:2]


def _verdict(run: Run) -> Iterator[str]:
    found = sentences(run.batch, list(_last_phi(run)))
    if found:
        yield e.heading('Verdict')
        yield from (e.paragraph(text) for text in found)


def _last_phi(run: Run) -> Iterator[Phi]:
    """Phi of every module as it was last logged, where it has an interval."""
    if run.history is None:
        return
    for module, curve in run.history.curves.get('phi', {}).items():
        found = band(run.history, 'phi', module)
        if len(curve) and found and found[-1][0] == curve[-1][0]:
            yield Phi(module, curve[-1][1], *found[-1][1:])


def _warnings(run: Run) -> Iterator[str]:
    yield e.heading('Warnings')
    found = findings(run)
    yield from (e.paragraph(text, 'warning') for text in found)
    if not found:
        yield e.paragraph('None: no skipped estimate, no scale held by the clamp.', 'fine')


def _training(run: Run) -> Iterator[str]:
    yield e.heading('Training')
    yield e.figure(to_svg(training_figure(run), 'training'), 'Losses and scores.')
    if run.scores:
        rows = [
            (name, e.number(curve[-1][1]), e.number(max(curve.values)), curve[-1][0])
            for name, curve in run.scores.items()
        ]
        yield e.table(('score', 'last', 'best', 'at'), rows)


def _variance(run: Run) -> Iterator[str]:
    yield e.heading('Gradient variance and scales')
    if run.history is None:
        yield e.paragraph('This run has measured no gradient variance.', 'soft')
        return
    settings = run.agvm
    if settings is not None:
        applied = '' if settings.apply else '; measured only, scales not applied'
        made = counted(estimates_made(run, settings), 'estimate')
        yield e.paragraph(
            f'{settings.estimator}, {made}, one every {counted(settings.interval, "update")} '
            f'from update {settings.begin}, averaged with momentum {settings.momentum}; '
            f'anchor {settings.anchor}{applied}.'
        )
    yield e.figure(
        to_svg(variance_figure(run.history), 'variance'),
        'Modules over training; shaded: 95 % from the standard error of phi, where it was logged.',
    )
    yield e.table(
        ('module', 'phi', '95 %', 'noise scale (images)', '95 %', 'scale', 'learning rate'),
        [_module_row(run.history, noise) for noise in noise_scales(run.history)],
    )


def _module_row(history: History, noise: Noise) -> tuple[str, ...]:
    curves = (history.curves.get(key, {}).get(noise.module) for key in ('phi', 'scale', 'lr'))
    phi, scale, rate = (curve[-1][1] if curve else None for curve in curves)
    found = band(history, 'phi', noise.module)
    ends = found[-1][1:] if found else (math.nan, math.nan)
    return (
        noise.module,
        e.number(phi),
        _interval(*ends),
        e.number(noise.value),
        _interval(noise.low, noise.high),
        e.number(scale),
        '-' if rate is None else f'{rate:.3g}',
    )


def _interval(low: float, high: float) -> str:
    return '-' if math.isnan(low) else f'{e.number(low)} to {e.number(high)}'


def _prediction(run: Run) -> Iterator[str]:
    if run.predictions:
        yield from forecasts(run)


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
