"""The comparison as a table and as plain numbers."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from agvm_runs.markdown import markdown_table

from .arms import PLAIN
from .counting import Count
from .timing import Cost, Key

COLUMNS = (
    ('arm', 'step', 'time / DDP', 'quartiles', 'CPU time / DDP', 'quartiles', 'bytes / DDP')
    + ('extra bytes', 'collectives', 'extra peak KiB', 'extra transfers', 'extra scalars')
    + ("gradient is DDP's",)
)


def table(costs: dict[Key, Cost], counts: dict[Key, Count]) -> str:
    """One line for each case, in Markdown; extra is above plain DDP."""
    return markdown_table(COLUMNS, [_cells(key, costs[key], counts) for key in costs])


def _cells(key: Key, cost: Cost, counts: dict[Key, Count]) -> list[str]:
    arm, estimating = key
    count, plain = counts[key], counts[PLAIN, False]
    return [
        arm,
        'estimating' if estimating else 'other',
        *(
            text
            for one in (cost.time, cost.cpu)
            for text in (f'{one.median:.4f}', f'{one.low:.3f} to {one.high:.3f}')
        ),
        f'{count.bytes / plain.bytes:.6f}',
        f'{count.bytes - plain.bytes:.0f}',
        f'{count.collectives:g}',
        f'{(count.peak - plain.peak) / 1024:.1f}',
        f'{count.transfers - plain.transfers}',
        f'{count.scalars - plain.scalars}',
        'bit for bit' if count.bitwise else 'not bitwise',
    ]


def numbers(
    options: Any, machine: str, costs: dict[Key, Cost], counts: dict[Key, Count]
) -> dict[str, Any]:
    """Everything, for a JSON file."""
    return {
        'options': asdict(options),
        'machine': machine,
        'cases': [
            {
                'arm': arm,
                'estimating': estimating,
                **asdict(costs[arm, estimating]),
                'count': asdict(counts[arm, estimating]),
            }
            for arm, estimating in costs
        ],
    }
