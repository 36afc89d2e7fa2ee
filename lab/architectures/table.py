"""The zoo's JSON file as tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from agvm_runs.markdown import markdown_table

KNOWN = 0.999  # families of which K-FAC covers less are listed

Record = Mapping[str, Any]


def tables(families: Mapping[str, Record]) -> str:
    """Modules and clipping by division, what K-FAC leaves, and how the trainings ended."""
    built = {name: record for name, record in families.items() if 'network' in record}
    divisions: dict[tuple[str, ...], list[str]] = {}
    for name, record in built.items():
        divisions.setdefault(tuple(record['modules']), []).append(name)
    shares = [_division(names, built) for names in divisions.values()]
    left = [
        [_joined([name]), _percent(record['kfac']['share']), _left(record['kfac']['left'])]
        for name, record in built.items()
        if record['kfac']['share'] < KNOWN
    ]
    outcomes: dict[str, list[str]] = {}
    for name, record in built.items():
        outcomes.setdefault(outcome(record), []).append(name)
    ends = [[end, _joined(names)] for end, names in outcomes.items()]
    return '\n\n'.join(
        [
            markdown_table(['modules and %', 'clipped %: cls, pred', 'families'], shares),
            markdown_table(['family', 'K-FAC %', 'left %'], left),
            markdown_table(['trained', 'families'], ends),
        ]
    )


def outcome(record: Record) -> str:
    """How the training of a family ended."""
    if 'as' in record:
        return 'has the layers of another'
    if 'trained' not in record:
        return 'not yet'
    result = record['trained']
    end, without = _end(result), result.get('without')
    if without is None:
        return end
    other = _end(without)
    return f'{end}; without the methods too' if other == end else f'{end}; without {other}'


def _division(names: Sequence[str], families: Mapping[str, Record]) -> list[str]:
    modules = [families[name]['modules'] for name in names]
    shares = [f'{key} {_range(found[key] for found in modules)}' for key in modules[0]]
    clipped = [
        _range(families[name]['clip'][exclude] for name in names) for exclude in ('cls', 'pred')
    ]
    return [', '.join(shares), ', '.join(clipped), _joined(names)]


def _range(shares: Iterable[float]) -> str:
    ends = sorted(shares)
    low, high = (f'{100 * share:.3g}' for share in (ends[0], ends[-1]))
    return low if low == high else f'{low}-{high}'


def _joined(names: Sequence[str]) -> str:
    """``mmdet fcos, gfl`` from ``mmdet/fcos`` and ``mmdet/gfl``."""
    zoos: dict[str, list[str]] = {}
    for name in names:
        zoo, _, family = name.partition('/')
        zoos.setdefault(zoo, []).append(family)
    return '; '.join(f'{zoo} {", ".join(found)}' for zoo, found in zoos.items())


def _left(reasons: Mapping[str, float]) -> str:
    return ', '.join(
        f'{reason.removesuffix(" is not known")} {_percent(share)}'
        for reason, share in reasons.items()
    )


def _percent(share: float) -> str:
    return f'{100 * share:.3g}'


def _end(result: Record) -> str:
    if 'fault' in result:
        return str(result['fault'])
    return 'finite' if result['finite'] else 'not finite'
