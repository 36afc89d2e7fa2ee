"""What a launch changes in a config, as a table: old value, new value, rule and source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

HEAD = ('setting', 'config', 'run', 'rule', 'source')
KEPT = 'left alone'


class Change(NamedTuple):
    """One setting of a config before and after."""

    where: str
    old: Any
    new: Any
    rule: str
    source: str = '-'


def kept(where: str, value: Any) -> Change:
    """A setting that somebody may expect to change and that no rule changes."""
    return Change(where, value, value, KEPT)


def table(changes: Sequence[Change]) -> str:
    """The changes in aligned columns, without a blank at the end of a line."""
    rows = [HEAD, *((c.where, _text(c.old), _text(c.new), c.rule, c.source) for c in changes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    return '\n'.join(
        '  '.join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows
    )


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return '(' + ', '.join(_text(one) for one in value) + ')'
    return f'{value:.6g}' if isinstance(value, float) else str(value)
