"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A head and rows of as many cells, without a line end after the last; a bar is escaped."""
    return '\n'.join(map(markdown_line, [head, ['---'] * len(head), *rows]))


def markdown_line(cells: Sequence[str]) -> str:
    """One row of a table; a bar is escaped."""
    return '| ' + ' | '.join(cell.replace('|', r'\|') for cell in cells) + ' |'
