"""What others have published, read from published.json: the one place where these figures are.

An entry has the table, the model, the method and the batch of its cell; a score (``value``) or what
happened without one (``outcome``); the ``source``, the name of a :class:`.figures.Source` in small
letters; and ``time``, if one is known.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from .figures import Duration, Figure, Place, Source

FILE = Path(__file__).with_name('published.json')


def figures_of(table: str) -> dict[Place, Figure]:
    """The known scores of a table by place."""
    return {
        place: Figure(entry.get('value'), Source[entry['source'].upper()], entry.get('outcome', ''))
        for place, entry in _entries_of(table)
    }


def times_of(table: str) -> dict[Place, Duration]:
    """The known training times of a table by place."""
    return {
        place: Duration(**entry['time']) for place, entry in _entries_of(table) if 'time' in entry
    }


def _entries_of(table: str) -> Iterator[tuple[Place, dict[str, Any]]]:
    for entry in entries():
        if entry['table'] == table:
            yield (entry['model'], entry['method'], entry['batch']), entry


@cache
def entries() -> list[dict[str, Any]]:
    """All entries of the file."""
    content: list[dict[str, Any]] = json.loads(FILE.read_text(encoding='utf-8'))
    return content
