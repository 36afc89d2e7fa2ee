"""Parameters that one call of a ``foreach`` function can step together."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import Any

from torch import Tensor

Group = dict[str, Any]
Entry = tuple[Tensor, Group]
"""A parameter and the group that it is in."""


def with_gradients(groups: Iterable[Group]) -> list[Entry]:
    """The parameters that have a gradient, in order."""
    return [(p, group) for group in groups for p in group['params'] if p.grad is not None]


def buckets(entries: Iterable[Entry], *options: str) -> Iterator[tuple[list[Entry], Group]]:
    """Entries of equal device, type and options, across groups, and the options of the first.

    With ``paramwise_cfg`` MMEngine makes a group of every parameter.
    """
    found: dict[Hashable, list[Entry]] = {}
    for parameter, group in entries:
        values = (_hashable(group[name]) for name in options)
        key = (parameter.device, parameter.dtype, *values)
        found.setdefault(key, []).append((parameter, group))
    for bucket in found.values():
        yield bucket, bucket[0][1]


def gradients(bucket: Iterable[Entry]) -> list[Tensor]:
    """The gradients of a bucket of :func:`with_gradients`."""
    return [p.grad for p, _ in bucket if p.grad is not None]


def _hashable(value: Any) -> Hashable:
    return tuple(value) if isinstance(value, list) else value
