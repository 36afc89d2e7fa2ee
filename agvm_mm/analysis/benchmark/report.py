"""The comparison as a table and as plain numbers."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from .arms import PLAIN
from .counting import Count
from .timing import Key, Ratio

HEADER = (
    '| arm | step | time / DDP | quartiles | bytes / DDP | extra bytes | collectives '
    "| extra peak KiB | extra transfers | extra scalars | gradient is DDP's |\n"
    '|---|---|---|---|---|---|---|---|---|---|---|'
)


def table(times: dict[Key, Ratio], counts: dict[Key, Count]) -> str:
    """One line for each case, in Markdown; extra is above plain DDP."""
    return '\n'.join([HEADER, *(_line(key, times[key], counts) for key in times)])


def _line(key: Key, time: Ratio, counts: dict[Key, Count]) -> str:
    arm, estimating = key
    count, plain = counts[key], counts[PLAIN, False]
    columns = [
        arm,
        'estimating' if estimating else 'other',
        f'{time.median:.4f}',
        f'{time.low:.3f} to {time.high:.3f}',
        f'{count.bytes / plain.bytes:.6f}',
        f'{count.bytes - plain.bytes:.0f}',
        f'{count.collectives:g}',
        f'{(count.peak - plain.peak) / 1024:.1f}',
        f'{count.transfers - plain.transfers}',
        f'{count.scalars - plain.scalars}',
        'bit for bit' if count.bitwise else 'not bitwise',
    ]
    return '| ' + ' | '.join(columns) + ' |'


def numbers(
    options: Any, machine: str, times: dict[Key, Ratio], counts: dict[Key, Count]
) -> dict[str, Any]:
    """Everything, for a JSON file."""
    return {
        'options': asdict(options),
        'machine': machine,
        'cases': [
            {
                'arm': arm,
                'estimating': estimating,
                'time': asdict(times[arm, estimating]),
                'count': asdict(counts[arm, estimating]),
            }
            for arm, estimating in times
        ],
    }
