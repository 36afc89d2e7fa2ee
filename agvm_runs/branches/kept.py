"""A branch as one small JSON file, ``<folder>/x<factor>_seed<seed>.json``."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..work_dir import FileError, line_a_key, read_json, write_own

FORMAT = 'agvm_mm branch 1'


@dataclass(frozen=True)
class Branch:
    """A short training from a checkpoint, at a multiple of the batch of its recipe.

    Args:
        factor: the multiple.
        batch: images of an update.
        updates: of the branch.
        rate: learning rate, which is constant.
        seed: of the order of the data.
        loss: mean training loss over the last images; infinite where it became non-finite.
        iteration: of the run at its checkpoint, in micro-batches; None where it is not known.
        settings: what all branches of one measurement share.
        facts: how it was made.
        curve: [images, mean loss], a point for every window.
    """

    factor: int
    batch: int
    updates: int
    rate: float
    seed: int
    loss: float
    iteration: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    curve: list[list[float]] = field(default_factory=list)


def path_of(folder: Path, factor: int, seed: int) -> Path:
    """The file of a branch."""
    return folder / f'x{factor}_seed{seed}.json'


def keep(folder: Path, branch: Branch) -> None:
    """Write a branch, a line a key; an infinite loss becomes null.

    Raises:
        FileError: something else lies there.
    """
    text = line_a_key({'format': FORMAT, **asdict(branch)})
    write_own(path_of(folder, branch.factor, branch.seed), text, FORMAT)


def read(path: Path) -> Branch:
    """The branch of a file.

    Raises:
        FileError: the file holds something else, or a damaged branch.
    """
    value = read_json(path)
    if not isinstance(value, dict) or value.get('format') != FORMAT:
        raise FileError(f'{path} holds no branch of critical_batch.py.')
    for key, kinds in KINDS.items():
        found = value.get(key)
        if isinstance(found, bool) or not isinstance(found, kinds):
            raise FileError(
                f'{path} holds a damaged branch: {key} is {reprlib.repr(found)}; allowed is '
                f'{" or ".join(NAMES[kind] for kind in kinds)}.'
            )
    loss = math.inf if value['loss'] is None else float(value['loss'])
    entries = {key: value[key] for key in KINDS if key != 'loss'}
    return Branch(**entries, loss=loss)


def read_all(folder: Path) -> list[Branch]:
    """The branches of a folder, by factor and seed.

    Raises:
        FileError: there are none, one is damaged, or they do not belong together.
    """
    found = {path: read(path) for path in sorted(folder.glob('x*_seed*.json'))}
    if not found:
        raise FileError(f'{folder} holds no branch of critical_batch.py (x*_seed*.json).')
    first = next(iter(found.values())).settings
    for path, branch in found.items():
        require_same(path, branch, first)
    return sorted(found.values(), key=lambda branch: (branch.factor, branch.seed))


def require_same(path: Path, branch: Branch, settings: Mapping[str, Any]) -> None:
    """Stop where a branch was made with other settings than the rest.

    Raises:
        FileError: names the file and the setting.
    """
    for key in sorted({*branch.settings, *settings}):
        was, now = branch.settings.get(key), settings.get(key)
        if was != now:
            raise FileError(
                f'{path} was made with {key} {was!r} and not {now!r}: give the same, or another '
                'folder.'
            )


NAMES: Mapping[type, str] = {
    int: 'a whole number',
    float: 'a number',
    dict: 'an object',
    list: 'a list',
    type(None): 'null',
}
KINDS: Mapping[str, tuple[type, ...]] = {
    'factor': (int,),
    'batch': (int,),
    'updates': (int,),
    'rate': (int, float),
    'seed': (int,),
    'loss': (int, float, type(None)),
    'iteration': (int, type(None)),
    'settings': (dict,),
    'facts': (dict,),
    'curve': (list,),
}
