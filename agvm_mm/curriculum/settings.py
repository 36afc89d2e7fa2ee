"""The arguments of CurriculumHook, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from agvm_runs.checks import is_count, is_number, require

from .presets import PRESETS
from .stages import Stage

WHERE = 'CurriculumHook'
HIGHEST = 10.0


def read_stages(value: Any) -> tuple[Stage, ...]:
    """Stages from the name of a preset or a list of dicts with the keys of :class:`.stages.Stage`.

    Raises:
        ValueError: in one sentence, what is wrong and what is allowed.
    """
    if isinstance(value, str):
        names = ' or '.join(map(repr, PRESETS))
        require(value in PRESETS, 'stages', value, f'{names}, or a list of dicts', WHERE)
        return PRESETS[value]
    require(
        isinstance(value, Sequence) and len(value) > 0, 'stages', value, 'a list of dicts', WHERE
    )
    stages = tuple(_read_stage(entry, f'stages[{index}]') for index, entry in enumerate(value))
    total = sum(stage.share for stage in stages)
    if abs(total - 1) > 1e-6:
        raise ValueError(
            f'the shares of {WHERE}.stages add up to {total:.6g}; allowed are shares of the '
            'compute that add up to 1.'
        )
    return stages


def _read_stage(entry: Any, where: str) -> Stage:
    require(isinstance(entry, Mapping), where, entry, 'a dict', WHERE)
    known = [field.name for field in fields(Stage)]
    for key in entry:
        require(key in known, f'{where} has the key', key, f'one of {", ".join(known)}', WHERE)
    for key in ('share', 'ratio'):
        number = entry.get(key)
        good = is_number(number) and 0 < number <= 1
        require(good, f'{where}.{key}', number, 'a number in (0, 1]', WHERE)
    for key in ('batch', 'replay'):
        number = entry.get(key, 1)
        require(is_count(number, 1), f'{where}.{key}', number, 'a whole number from 1', WHERE)
    rate = entry.get('lr', 1.0)
    good = is_number(rate) and rate > 0
    require(good, f'{where}.lr', rate, 'a positive multiplier of the learning rate', WHERE)
    replays = entry.get('replay', 1) > 1
    kept = entry.get('buffer', 0)
    allowed = 'a whole number of batches, at least 1 with replay > 1'
    require(is_count(kept, int(replays)), f'{where}.buffer', kept, allowed, WHERE)
    return Stage(**{**entry, 'strength': _read_strength(entry.get('strength', 0.0), where)})


def _read_strength(value: Any, where: str) -> tuple[float, ...]:
    values = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    good = len(values) > 0 and all(is_number(v) and 0 <= v <= HIGHEST for v in values)
    require(good, f'{where}.strength', value, f'a number from 0 to {HIGHEST:g} or several', WHERE)
    return tuple(map(float, values))
