"""A finished run as one small JSON file, as the laboratory keeps them."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .files import FileError, read_json
from .scalars import LARGEST


def read_result(path: Path) -> dict[str, Any]:
    """The scores, curves and facts of a file; reads the bare NaN of older ones too.

    Raises:
        ValueError: the file holds something else.
    """
    try:
        result = read_json(path)
    except FileError:
        result = None  # no text, no JSON, or none that can be used
    if (
        isinstance(result, dict)
        and isinstance(result.get('scores'), dict)
        and all(map(_is_modules, _values(result.get('modules', {}))))
    ):
        for name, score in result['scores'].items():
            if not _is_score(score):
                raise FileError(
                    f'{path} has no usable score: {reprlib.repr(name)} is {reprlib.repr(score)}; '
                    'allowed is a number or null.'
                )
        return dict(result)
    raise FileError(f'{path} is not the result of a run as lab/miniature.py writes it.')


def _values(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else [None]


def _is_score(value: Any) -> bool:
    return value is None or isinstance(value, float) or _is_whole(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST


def _is_modules(value: Any) -> bool:
    """Curves by module."""
    return isinstance(value, dict) and all(
        isinstance(curve, list)
        and all(
            isinstance(point, list)
            and len(point) == 2
            and _is_whole(point[0])
            and _is_score(point[1])
            for point in curve
        )
        for curve in value.values()
    )


def score_of(scores: Mapping[str, float | None], key: str) -> float:
    """The score named ``key``, NaN for null; 0 of no scores, as mmdet reports no detections.

    Raises:
        ValueError: there are scores, but none of this name.
    """
    if scores and key not in scores:
        raise ValueError(f'{key!r} is no result of this run; there are {", ".join(scores)}.')
    if not scores:
        return 0.0
    score = scores[key]
    return math.nan if score is None else float(score)
