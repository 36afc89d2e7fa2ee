"""The tables and the sentence of a prediction, as text."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from agvm_runs.intervals import Numbers
from agvm_runs.predictions.window import Window, errors, number, pooled

from .forecast import scale_config
from .window import scales_at

# A scale this far from 1 changes the learning rate by more than schedules are usually tuned to.
NEAR_ONE = 0.1


def tables(result: dict[str, Any], batches: Sequence[int]) -> str:
    """All that is printed of a prediction."""
    window = pooled(result)
    parts = [_text(noise_table(result, window)), _text(batch_table(result, window, batches))]
    parts += [verdict(result, window, batch) for batch in batches]
    if 'measured' in result['seeds'][0]:
        parts += ['', _text(error_table(result))]
    return '\n'.join(parts)


def noise_table(result: dict[str, Any], window: Window) -> Table:
    """Noise scale of every module: estimate and interval."""
    first, last = result['seeds'][0]['updates']
    seeds = len(result['seeds'])
    table = Table(
        title=f'Noise scales of {result["name"]} at updates {first} to {last}, batch '
        f'{window.images:g}, {seeds} seed{"s" if seeds > 1 else ""}',
        caption='At a batch of B_simple one update gains half of what an endless batch would gain: '
        'from there on the module hardly profits.',
    )
    table.add_column('module')
    for column in ('phi ± s.e.', 'B_simple (images)', '95 % interval'):
        table.add_column(column, justify='right')
    scale, low, high = window.noise_scale()
    for i, name in enumerate(result['modules']):
        table.add_row(
            name,
            f'{window.phi[i]:.3f} ± {window.error[i]:.3f}',
            _images(scale[i]),
            f'{_images(low[i])} to {_images(high[i])}',
        )
    return table


def batch_table(result: dict[str, Any], window: Window, batches: Sequence[int]) -> Table:
    """Predicted phi and scale of every module at every batch, with intervals."""
    config = scale_config(result)
    table = Table(title='Predicted phi and scale [95 % interval]')
    table.add_column('module')
    for column in ('batch', 'phi', 'scale'):
        table.add_column(column, justify='right')
    found = [(window.phi_at(batch), scales_at(window, batch, config)) for batch in batches]
    for i, name in enumerate(result['modules']):
        for j, (batch, pair) in enumerate(zip(batches, found)):
            cells = [_interval(*(part[i] for part in triple)) for triple in pair]
            table.add_row(name if j == 0 else '', str(batch), *cells)
    return table


def verdict(result: dict[str, Any], window: Window, batch: int) -> str:
    """By how much AGVM would change the learning rates at ``batch``, in one sentence."""
    scale, low, high = scales_at(window, batch, scale_config(result))
    rows = list(zip(result['modules'], scale.tolist(), low.tolist(), high.tolist()))
    sure = [
        f'{name} by {value:.2f} ({least:.2f} to {most:.2f})'
        for name, value, least, most in rows
        if least > 1 + NEAR_ONE or most < 1 / (1 + NEAR_ONE)
    ]
    if sure:
        return (
            f'At batch {batch} AGVM would multiply the learning rates of {", ".join(sure)}. '
            'Whether that helps the training is another question.'
        )
    if all(most <= 1 + NEAR_ONE and least >= 1 / (1 + NEAR_ONE) for _, _, least, most in rows):
        near = f'all scales lie within {NEAR_ONE:.0%} of 1'
        return f'At batch {batch} AGVM would change little: {near}.'
    worst = max(rows, key=lambda row: math.log(row[3] / row[2]))
    return (
        f'At batch {batch} these estimates cannot tell: the scale of {worst[0]} may be '
        f'{worst[2]:.2f} to {worst[3]:.2f}; raise --updates and --window, or --samples.'
    )


def error_table(result: dict[str, Any]) -> Table:
    """Relative errors by module and batch, the mean over seeds and their spread."""
    training, same = errors(result, 'window'), errors(result, 'same_weights')
    table = Table(title='Predicted phi / measured phi - 1, mean over seeds (± s.d.)')
    for column in ('module', 'batch'):
        table.add_column(column)
    columns = ('measured phi (± s.e.)', 'from the training window', 'from the same weights')
    for column in columns:
        table.add_column(column, justify='right')
    for i, name in enumerate(result['modules']):
        for j, entry in enumerate(result['seeds'][0]['measured']):
            batch = entry['batch']
            rows = [seed['measured'][j] for seed in result['seeds']]
            phi = sum(number(row['phi'][i]) for row in rows) / len(rows)
            error = math.hypot(*(number(row['error'][i]) for row in rows)) / len(rows)
            table.add_row(
                name if j == 0 else '',
                str(batch),
                f'{phi:.3f} ± {error:.3f}',
                _percent(training[batch][:, i]),
                _percent(same[batch][:, i]),
            )
    return table


def _percent(values: Numbers) -> str:
    mean = f'{100 * float(values.mean()):+.1f} %'
    return mean if len(values) < 2 else f'{mean} (± {100 * float(values.std(ddof=1)):.1f})'


def _interval(value: float, low: float, high: float) -> str:
    return f'{value:.3f} [{low:.3f}, {high:.3f}]'


def _images(value: float) -> str:
    if math.isnan(value):
        return '-'
    return '∞' if math.isinf(value) else f'{value:.1f}' if value < 100 else f'{value:.0f}'


def _text(table: Table) -> str:
    text = io.StringIO()
    Console(file=text, width=110, markup=False, emoji=False).print(table)
    return text.getvalue()
