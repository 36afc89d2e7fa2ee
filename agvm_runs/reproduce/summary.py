"""What was measured, methods by batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..markdown import markdown_table
from .recipes import METHODS
from .render import by_model, measured
from .rows import Row
from .table import Table


def to_summary(tables: Iterable[tuple[Table, Sequence[Row]]]) -> str:
    """Markdown tables of mean ± sample standard deviation (number of runs), for a README.

    Methods, batches and tables without a finished run are left out; empty if nothing is left.
    """
    blocks = []
    for table, rows in tables:
        groups = by_model([row for row in rows if row.scores])
        for model, group in groups.items():
            title = table.title if len(groups) == 1 else f'{table.title}, {model}'
            blocks.append(_block(f'{title}: {table.metric}', group))
    return '\n'.join(blocks)


def _block(title: str, rows: Sequence[Row]) -> str:
    batches = sorted({row.batch for row in rows})
    order = list(METHODS.values())
    texts: dict[str, dict[int, str]] = {}
    for row in sorted(rows, key=lambda row: order.index(row.method)):
        texts.setdefault(row.method, {})[row.batch] = measured(row)
    head = [title, *map(str, batches)]
    rows_of_text = [
        [method, *(line.get(batch, '') for batch in batches)] for method, line in texts.items()
    ]
    return markdown_table(head, rows_of_text) + '\n'
