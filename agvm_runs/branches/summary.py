"""What branches say, as a table and as JSON, beside the noise scales that their run measured."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..curves.noise import Noise
from ..markdown import markdown_table
from ..work_dir import FileError, finite, read_json, write_own
from .critical import Critical, Level

FORMAT = 'agvm_mm critical batch 1'
NOISE_FORMAT = 'agvm_mm noise scales 1'
NOISE_FILE = 'noise_scales.json'


def keep_noise(folder: Path, noise: Sequence[Noise]) -> None:
    """Write the noise scales beside the branches, so that the folder says all.

    Raises:
        FileError: something else lies there.
    """
    modules = [asdict(one) for one in noise]
    text = json.dumps(finite({'format': NOISE_FORMAT, 'modules': modules}), indent=1)
    write_own(folder / NOISE_FILE, text + '\n', NOISE_FORMAT)


def kept_noise(folder: Path) -> list[Noise]:
    """The noise scales of a folder of branches; none where it holds none.

    Raises:
        FileError: the file holds something else.
    """
    path = folder / NOISE_FILE
    if not path.exists():
        return []
    value = read_json(path)
    try:
        if value['format'] != NOISE_FORMAT:
            raise ValueError
        return [_noise(**entry) for entry in value['modules']]
    except (KeyError, TypeError, ValueError):
        raise FileError(f'{path} holds no noise scales of critical_batch.py.') from None


def _noise(module: str, value: float | None, low: float | None, high: float | None) -> Noise:
    """JSON's null is an end that is infinite beside one that is known, and else no number."""
    least, middle = (math.nan if one is None else float(one) for one in (low, value))
    most = math.nan if low is None else math.inf
    return Noise(str(module), middle, least, most if high is None else float(high))


def to_markdown(
    found: Sequence[Level], critical: Critical, noise: Sequence[Noise], tolerance: float
) -> str:
    """The table of batches, the critical batch in a sentence, and the table of modules."""
    lines = [
        [
            f'{level.batch} (x{level.factor})',
            str(level.updates),
            f'{level.rate:.3g}',
            _mean(level.losses),
            f'{100 * level.difference / found[0].loss:+.1f} %' if level is not found[0] else '',
            f'{100 * level.low / found[0].loss:+.1f} to {100 * level.high / found[0].loss:+.1f} %'
            if level is not found[0] and math.isfinite(level.low)
            else '',
        ]
        for level in found
    ]
    head = ['batch', 'updates', 'rate', 'loss', f'to batch {found[0].batch}', '95 % interval']
    parts = [markdown_table(head, lines), '', sentence(found, critical, tolerance)]
    if noise:
        rows = [
            [
                one.module,
                _number(one.value),
                '' if math.isnan(one.low) else _interval(one.low, one.high),
                _number(critical.batch / one.value),
            ]
            for one in noise
        ]
        columns = ['module', 'B_simple (images)', '95 % interval', 'critical batch / B_simple']
        parts += ['', markdown_table(columns, rows)]
    return '\n'.join(parts)


def sentence(found: Sequence[Level], critical: Critical, tolerance: float) -> str:
    """The critical batch in words."""
    end = ', the largest tested' if critical.batch == critical.largest else ''
    if critical.low is None:
        ends = 'three seeds are needed for an interval'
    else:
        above = ' or more' if critical.high == critical.largest else ''
        ends = f'95 % interval {critical.low} to {critical.high}{above}'
    return (
        f'Critical batch: {critical.batch}{end} ({ends}). Up to there the loss is at most '
        f'{tolerance:.1%} above that of batch {found[0].batch}.'
    )


def to_json(
    found: Sequence[Level],
    critical: Critical,
    noise: Sequence[Noise],
    tolerance: float,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """All of it as plain values."""
    result: dict[str, Any] = finite(
        {
            'format': FORMAT,
            'settings': dict(settings),
            'tolerance': tolerance,
            'critical': asdict(critical),
            'batches': [{**asdict(level), 'loss': level.loss} for level in found],
            'noise_scales': [asdict(one) for one in noise],
        }
    )
    return result


def _mean(losses: Sequence[float]) -> str:
    mean = statistics.fmean(losses)
    if not math.isfinite(mean):
        return 'diverged'
    return f'{mean:.4f}' + (f' ± {statistics.stdev(losses):.4f}' if len(losses) > 1 else '')


def _interval(low: float, high: float) -> str:
    return f'{_number(low)} to {_number(high)}'


def _number(value: float) -> str:
    if math.isnan(value):
        return '-'
    return '∞' if math.isinf(value) else f'{value:.3g}' if abs(value) < 1000 else f'{value:.0f}'
