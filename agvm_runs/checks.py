"""Checks of values from configs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any


def require(holds: bool, key: str, value: Any, allowed: str, where: str) -> None:
    """Stop with one sentence that names the key, its value and what is allowed."""
    if not holds:
        raise ValueError(f'{where}.{key} is {value!r}; allowed is {allowed}.')


def require_known(values: Any, known: Sequence[str], where: str) -> None:
    """Stop unless ``values`` is a dict with no other keys than the known ones."""
    if not isinstance(values, Mapping):
        raise ValueError(f'{where} is {values!r}; allowed is a dict, or None to switch it off.')
    for key in values:
        if key not in known:
            raise ValueError(f'{where} has the unknown key {key!r}; known are {", ".join(known)}.')


def is_count(value: Any, least: int) -> bool:
    """Whether ``value`` is a whole number of at least ``least``; True and False are not."""
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


def is_number(value: Any) -> bool:
    """Whether ``value`` is a finite real number; True and False are not."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond the range of float
        return False


def is_one_of(value: Any, names: Iterable[str]) -> bool:
    """Whether ``value`` is one of the names; an array is not, and nor is what cannot be hashed."""
    return isinstance(value, str) and value in names


def any_of(names: Sequence[str]) -> str:
    """The names for a sentence: 'a' or 'b'."""
    return ' or '.join(repr(name) for name in names)


def counted(number: int, noun: str) -> str:
    """A number of things for a sentence: 1 rank, 2 ranks, 3 batches."""
    ending = '' if number == 1 else 'es' if noun.endswith(('tch', 'ss')) else 's'
    return f'{number} {noun}{ending}'
