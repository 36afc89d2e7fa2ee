"""A finished run as one small JSON file, kept where a work directory would be too large.

    <folder>/<name of the config>_seed<N>.json

It holds the last evaluation, the loss and the modules' curves as they were logged, what was changed
on the command line, and on which software the run was made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .scalars import find_scalars, module_curve, parse_lines, read_lines

NO_SCORES = ('step', 'time', 'data_time')
CURVES = ('phi', 'noise_scale', 'factor')


def distil(work_dir: Path, **facts: Any) -> dict[str, Any]:
    """What a finished run has logged.

    Args:
        work_dir: its work directory.
        **facts: what the caller knows, as config, seed and seconds; they come first.

    Raises:
        ValueError: the run has no evaluation at its end.
    """
    logs = find_scalars(work_dir)
    entries = [entry for path in logs[-1:] for entry in parse_lines(read_lines(path))]
    if not entries or 'loss' in entries[-1]:
        raise ValueError(f'{work_dir} holds no run that ended with an evaluation.')
    training = [entry for entry in entries if 'loss' in entry]
    return {
        **facts,
        'scores': {key: value for key, value in entries[-1].items() if key not in NO_SCORES},
        'loss': [[entry['step'], _short(entry['loss'])] for entry in training],
        'modules': _curves(training),
    }


def write_result(path: Path, result: dict[str, Any]) -> None:
    """One line a key, so that two results can be compared by eye and by diff."""
    lines = ',\n'.join(f'{json.dumps(key)}: {json.dumps(value)}' for key, value in result.items())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{\n' + lines + '\n}\n')


def read_result(path: Path) -> dict[str, Any]:
    """Inverse of :func:`write_result`.

    Raises:
        ValueError: the file holds something else.
    """
    try:
        result = json.loads(path.read_text(encoding='utf-8'))
        if isinstance(result['scores'], dict):
            return dict(result)
    except (json.JSONDecodeError, KeyError, TypeError):
        pass
    raise ValueError(f'{path} is not the result of a run as tools/miniature.py writes it.')


def score_of(scores: Mapping[str, float], key: str) -> float:
    """The score named ``key``; 0 of no scores, which is what mmdet reports of no detections.

    Raises:
        ValueError: there are scores, but none of this name.
    """
    if scores and key not in scores:
        raise ValueError(f'{key!r} is no result of this run; there are {", ".join(scores)}.')
    return float(scores[key]) if scores else 0.0


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
