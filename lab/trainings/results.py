"""A finished run as one small JSON file, kept where a work directory would be too large.

    <folder>/<name of the config>_seed<N>.json

It holds the last evaluation, the loss and the modules' curves as they were logged, what was changed
on the command line, and on which software the run was made.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agvm_runs.work_dir import (
    find_scalars,
    is_training,
    line_a_key,
    module_curve,
    parse_lines,
    read_lines,
    read_result,
    write_own,
)

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
    """Keep a result, one line a key; NaN and infinity become null.

    Raises:
        FileError: something else lies there.
    """
    if path.is_file():
        read_result(path)
    write_own(path, line_a_key(result), mark='')


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
