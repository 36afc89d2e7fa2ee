"""The JSON lines of a run, ``<work dir>/<timestamp>/vis_data/scalars.json``."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .files import FileError, parse_json, read_lines

ITERATION = 'iter'
CLOCKS = ('step', ITERATION, 'epoch')
LARGEST = 2**53  # whole numbers up to here are floats too
QUANTITIES = ('phi', 'phi_low', 'phi_high', 'noise_scale', 'scale', 'lr')


def find_scalars(work_dir: Path) -> list[Path]:
    """The files of the last run, one a launch, in their order.

    A launch that resumes goes on behind the first step of the run. One that does not begins a new
    run in the same directory, to which the files before it do not belong.
    """
    run: list[Path] = []
    begun: int | None = None
    for path in sorted(work_dir.glob('*/vis_data/scalars.json')):
        first = _first_step(path)
        if first is not None and (begun is None or first <= begun):
            run, begun = (run if begun is None else []), first
        run.append(path)
    return run


def _first_step(path: Path) -> int | None:
    """The step of the first training line; None before it is written."""
    entry = next(parse_lines(filter(is_training, read_lines(path)), path), None)
    return None if entry is None else int(entry['step'])


def parse_lines(lines: Iterable[str], path: Path) -> Iterator[dict[str, Any]]:
    """The numbers of training lines and evaluations, which are those with a ``step``.

    Args:
        lines: of a log. Those that are no JSON are left out, as the last one of a run that was
            killed while writing it.
        path: of the log, for the error.

    Raises:
        FileError: a line is JSON that no run logs.
    """
    for line in lines:
        try:
            entry = parse_json(line)
        except json.JSONDecodeError:
            continue
        except ValueError as error:
            raise FileError(f'{path} holds a line that {error}.') from error
        if isinstance(entry, dict) and 'step' in entry:
            yield _numbers(entry, path)


def _numbers(entry: dict[str, Any], path: Path) -> dict[str, Any]:
    numbers = {
        key: value
        for key, value in entry.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
    for key in CLOCKS:
        value = numbers.get(key)
        if key in entry and not (isinstance(value, int) and 0 <= value <= LARGEST):
            raise FileError(
                f'{path} holds a line whose {key} is {reprlib.repr(entry[key])}; allowed is a '
                f'whole number from 0 to {LARGEST}.'
            )
    for key, value in numbers.items():
        if isinstance(value, int) and abs(value) > LARGEST:
            raise FileError(
                f'{path} holds a line whose {reprlib.repr(key)} is {reprlib.repr(value)}; allowed '
                f'is a whole number up to {LARGEST} or one with a decimal point.'
            )
    return numbers


def is_training(line: str | Mapping[str, Any]) -> bool:
    """Whether a line, parsed or not, is one of training: no evaluation has an ``iter``."""
    return (f'"{ITERATION}": ' if isinstance(line, str) else ITERATION) in line


def module_curve(key: str) -> tuple[str, str] | None:
    """Quantity and module of one of AGVM's scalars; None for any other.

    ``agvm/phi/neck`` -> ('phi', 'neck'); ``agvm/neck.lr`` -> ('lr', 'neck').
    """
    if not key.startswith('agvm/'):
        return None
    rest = key[len('agvm/') :]
    if rest.endswith('.lr'):
        return 'lr', rest[: -len('.lr')]
    quantity, _, module = rest.partition('/')
    return (quantity, module) if quantity in QUANTITIES and module else None
