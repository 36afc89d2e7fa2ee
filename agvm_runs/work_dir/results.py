"""A finished run as one small JSON file, kept where a work directory would be too large.

    <folder>/<name of the config>_seed<N>.json

It holds the last evaluation, the loss and the modules' curves as they were logged, what was changed
on the command line, and on which software the run was made.
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .files import FileError, read_json, read_lines, write_own
from .scalars import LARGEST, find_scalars, is_training, module_curve, parse_lines

NO_SCORES = ('step', 'time', 'data_time')
CURVES = ('phi', 'noise_scale', 'scale')


def distil(work_dir: Path, **facts: Any) -> dict[str, Any]:
    """What a finished run has logged.

    Args:
        work_dir: its work directory.
        **facts: what the caller knows, as config, seed and seconds; they come first.

    Raises:
        ValueError: the run has no evaluation at its end.
    """
    logs = find_scalars(work_dir)
    entries = [entry for path in logs[-1:] for entry in parse_lines(read_lines(path), path)]
    if not entries or is_training(entries[-1]):
        raise ValueError(f'{work_dir} holds no run that ended with an evaluation.')
    training = [entry for entry in entries if is_training(entry)]
    return {
        **facts,
        'scores': {key: value for key, value in entries[-1].items() if key not in NO_SCORES},
        'loss': [[entry['step'], _short(entry['loss'])] for entry in training if 'loss' in entry],
        'modules': _curves(training),
    }


def write_result(path: Path, result: dict[str, Any]) -> None:
    """One line a key, so that two results can be compared by eye and by diff.

    JSON has neither NaN nor infinity: both become null.

    Raises:
        FileError: something else lies there.
    """
    lines = ',\n'.join(
        f'{json.dumps(key)}: {json.dumps(_finite(value), allow_nan=False)}'
        for key, value in result.items()
    )
    if path.is_file():
        read_result(path)
    write_own(path, '{\n' + lines + '\n}\n', mark='')


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_result(path: Path) -> dict[str, Any]:
    """Inverse of :func:`write_result`; reads the bare NaN of older files too.

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


def _curves(training: list[dict[str, Any]]) -> dict[str, dict[str, list[list[float]]]]:
    """Quantity -> module -> [[iteration, value], ...]."""
    curves: dict[str, dict[str, list[list[float]]]] = {}
    for entry in training:
        for key, value in entry.items():
            place = module_curve(key)
            if place is not None and place[0] in CURVES:
                points = curves.setdefault(place[0], {}).setdefault(place[1], [])
                points.append([entry['step'], _short(value)])
    return curves


def _short(value: float) -> float:
    return float(f'{value:.5g}')
