"""Values of a config that MMEngine has dumped, read and never executed, and their types."""

from __future__ import annotations

import ast
from typing import Any

SCOPE = '_scope_'
"""The key by which MMEngine marks what comes from a base of another package."""


def read_literals(text: str) -> dict[str, Any]:
    """Top-level assignments of literals and ``dict(...)``; anything else is left out."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    found = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = _value(node.value)
            except (ValueError, TypeError, RecursionError, MemoryError):
                continue
    return found


def type_name(entry: Any, default: str = '') -> str:
    """The name in ``entry['type']`` without scope or module; ``default`` if there is none.

    New-style configs have classes there.
    """
    kind = entry.get('type') if hasattr(entry, 'get') else None
    if kind is None:
        return default
    name: str = kind if isinstance(kind, str) else getattr(kind, '__name__', str(kind))
    return name.rpartition('.')[2]


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict':
        if node.args or any(keyword.arg is None for keyword in node.keywords):
            raise ValueError('a dict that is made from others')
        return {str(keyword.arg): _value(keyword.value) for keyword in node.keywords}
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_value(entry) for entry in node.elts]
    if isinstance(node, ast.Dict):
        if None in node.keys:
            raise ValueError('a dict that is made from others')
        keys = [_value(key) for key in node.keys if key is not None]
        return dict(zip(map(str, keys), map(_value, node.values)))
    value = ast.literal_eval(node)
    str(value).encode()  # ValueError: too many digits, or half a surrogate pair
    return value
