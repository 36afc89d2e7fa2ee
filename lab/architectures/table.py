"""The zoo's JSON file as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

HEAD = ['families', 'modules and %', 'K-FAC %', 'clipped %', 'trained']


def rows(families: Mapping[str, Mapping[str, Any]]) -> Iterator[list[str]]:
    """One row a kind of network, with the families that have it."""
    kinds: dict[str, list[str]] = {}
    for name, record in families.items():
        if 'network' in record:
            kinds.setdefault(record.get('as', name), []).append(name)
    for first, names in kinds.items():
        record = families[first]
        modules = ', '.join(f'{key} {100 * share:.3g}' for key, share in record['modules'].items())
        clipped = ', '.join(_percent(record['clip'][exclude]) for exclude in ('cls', 'pred'))
        yield [_joined(names), modules, _covered(record['kfac']), clipped, _trained(record)]


def _joined(names: Sequence[str]) -> str:
    """``mmdet fcos, gfl`` from ``mmdet/fcos`` and ``mmdet/gfl``."""
    zoos: dict[str, list[str]] = {}
    for name in names:
        zoo, _, family = name.partition('/')
        zoos.setdefault(zoo, []).append(family)
    return '; '.join(f'{zoo} {", ".join(found)}' for zoo, found in zoos.items())


def _covered(record: Mapping[str, Any]) -> str:
    left = [
        f'{reason.removesuffix(" is not known")} {100 * share:.2g}'
        for reason, share in record['left'].items()
    ]
    return _percent(record['share']) + (f'; left: {", ".join(left)}' if left else '')


def _percent(share: float) -> str:
    return f'{100 * share:.4g}'


def _trained(record: Mapping[str, Any]) -> str:
    if 'trained' not in record:
        return ''
    result = record['trained']
    without = result.get('without')
    if without is None or without.get('finite'):
        return _outcome(result) + (f'; without {_outcome(without)}' if without else '')
    same = without.get('fault') == result.get('fault')
    return f'{_outcome(result)}; ' + ('nor without' if same else f'without {_outcome(without)}')


def _outcome(result: Mapping[str, Any]) -> str:
    if 'fault' in result:
        return str(result['fault'])
    return 'finite' if result['finite'] else 'not finite'
