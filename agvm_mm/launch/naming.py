"""Names of the types in a config, which are strings or, in new-style configs, classes."""

from __future__ import annotations

from typing import Any


def type_name(entry: Any, default: str = '') -> str:
    """The name in ``entry['type']`` without scope or module; ``default`` if there is none."""
    kind = entry.get('type') if hasattr(entry, 'get') else None
    if kind is None:
        return default
    name: str = kind if isinstance(kind, str) else getattr(kind, '__name__', str(kind))
    return name.rpartition('.')[2]


def with_type_name(kind: Any, name: str) -> str:
    """``name`` under the scope prefix, if any, of the type ``kind``."""
    scope = kind.rpartition('.')[0] if isinstance(kind, str) else ''
    return f'{scope}.{name}' if scope else name
