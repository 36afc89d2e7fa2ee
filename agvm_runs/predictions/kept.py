"""A prediction as it lies in its JSON file, checked."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeGuard

from ..work_dir import FileError, read_json

FORMAT = 'agvm_mm prediction 1'
LARGEST = 2**53
WHOLE = f'a whole number from 1 to {LARGEST}'
NUMBERS = 'a number or null for every module'


def read(path: str | Path) -> dict[str, Any]:
    """The prediction that ``agvm_mm.predict.forecast.write`` has kept.

    Raises:
        FileError: the file holds something else, or a damaged prediction.
    """
    result = read_json(Path(path))
    if not is_prediction(result):
        raise FileError(f'{path} holds no prediction of predict_batch_size.py.')
    require_whole(result, path)
    return dict(result)


def is_prediction(value: Any) -> bool:
    """Whether a JSON value says that it is one."""
    return isinstance(value, dict) and value.get('format') == FORMAT


def require_whole(result: dict[str, Any], path: str | Path) -> None:
    """Stop where a value that tables and figures use is missing or of another kind.

    Raises:
        FileError: names the file, the place, the value and what is allowed.
    """
    check = _Check(path)
    plan, names = result.get('plan'), result.get('modules')
    check(isinstance(result.get('name'), str), 'name', result.get('name'), 'a text')
    check(isinstance(plan, dict), 'plan', plan, 'an object')
    assert isinstance(plan, dict)
    for key in ('images', 'samples'):
        check(_is_count(plan.get(key)), f'plan.{key}', plan.get(key), WHOLE)
    times = plan.get('multiples')
    check(_is_list(times, _is_count), 'plan.multiples', times, f'a list of {WHOLE}')
    is_names = _is_list(names, lambda name: isinstance(name, str)) and names
    check(is_names, 'modules', names, 'a list of names')
    assert isinstance(names, list)
    anchor, clamp, seeds = (result.get(key) for key in ('anchor', 'clamp', 'seeds'))
    check(anchor in names, 'anchor', anchor, 'the name of a module')
    check(_is_clamp(clamp), 'clamp', clamp, 'two positive numbers, the smaller first')
    check(isinstance(seeds, list) and seeds, 'seeds', seeds, 'a list of runs')
    assert isinstance(seeds, list)
    batches = _batches(seeds[0])
    for i, seed in enumerate(seeds):
        check(isinstance(seed, dict), f'seeds[{i}]', seed, 'an object')
        _require_seed(check, seed, f'seeds[{i}]', len(names))
        same = f'the batches of the first seed, {reprlib.repr(batches)}'
        check(_batches(seed) == batches, f'seeds[{i}].measured', seed.get('measured'), same)


class _Check:
    def __init__(self, path: str | Path) -> None:
        self.path = path

    def __call__(self, holds: Any, where: str, value: Any, allowed: str) -> None:
        if not holds:
            raise FileError(
                f'{self.path} holds a damaged prediction: {where} is {reprlib.repr(value)}; '
                f'allowed is {allowed}.'
            )


def _require_seed(check: _Check, seed: dict[str, Any], where: str, modules: int) -> None:
    updates = seed.get('updates')
    is_pair = _is_list(updates, _is_number) and len(updates) == 2
    check(is_pair, f'{where}.updates', updates, 'the first and the last update of the window')
    check(_is_number(seed.get('seed')), f'{where}.seed', seed.get('seed'), 'a whole number')
    measured = seed.get('measured', [])
    check(isinstance(measured, list), f'{where}.measured', measured, 'a list of objects')
    windows = ['window', 'same_weights'] if 'measured' in seed else ['window']
    counts = {'window': ('count', 'images'), 'same_weights': ('count', 'images')}
    parts = {key: seed.get(key) for key in windows}
    parts |= {f'measured[{i}]': entry for i, entry in enumerate(measured)}
    for name, part in parts.items():
        place = f'{where}.{name}'
        check(isinstance(part, dict), place, part, 'an object')
        assert isinstance(part, dict)
        for key in counts.get(name, ('batch',)):
            number = part.get(key)
            check(_is_number(number) and 0 < number <= LARGEST, f'{place}.{key}', number, WHOLE)
        for key in ('phi', 'error'):
            values = part.get(key)
            fits = _is_list(values, _is_value) and len(values) == modules
            check(fits, f'{place}.{key}', values, NUMBERS)
        errors = [value or 0.0 for value in part['error']]
        check(not min(errors) < 0, f'{place}.error', part['error'], 'no negative number')


def _batches(seed: Any) -> list[Any] | None:
    measured = seed.get('measured') if isinstance(seed, dict) else None
    if not isinstance(measured, list):
        return None
    return [entry.get('batch') if isinstance(entry, dict) else None for entry in measured]


def _is_list(value: Any, holds: Callable[[Any], Any]) -> TypeGuard[list[Any]]:
    return isinstance(value, list) and all(map(holds, value))


def _is_number(value: Any) -> TypeGuard[float]:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and abs(value) <= LARGEST


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and _is_number(value) and value >= 1


def _is_value(value: Any) -> bool:
    return value is None or _is_number(value) or (isinstance(value, float) and math.isnan(value))


def _is_clamp(value: Any) -> bool:
    return _is_list(value, _is_number) and len(value) == 2 and 0 < value[0] <= value[1]
