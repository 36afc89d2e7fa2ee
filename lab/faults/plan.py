"""What happens in a long run and when: drawn once from the seed, the same on every rank."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

CLAMP = (0.5, 10.0)  # of the ratio of normalised variances, AGVM's default
INTERVAL = 2  # updates between two estimates, and between two measurements of K-FAC
METHODS = ('agvm', 'kfac', 'muon')


@dataclass(frozen=True)
class Options:
    """A long run.

    Args:
        updates: its length, a multiple of ``save``.
        ranks: processes, at least 2.
        images: of a rank in an update.
        save: updates between two checkpoints.
        check: updates between two looks at weights, memory and scales.
        kills: how often all ranks are killed; always in the first half of the run.
        nan: share of the updates in which the loss of one rank is not a number.
        empty: share of the updates in which some ranks, or all, see no object.
        seed: of the faults, the data and the weights.
        method: 'agvm' steps with SGD, 'kfac' with SGD after K-FAC, 'muon' with Muon; AGVM is on in
            all three.

    Raises:
        ValueError: the numbers do not fit together.
    """

    updates: int = 2000
    ranks: int = 3
    images: int = 1
    save: int = 50
    check: int = 100
    kills: int = 3
    nan: float = 0.01
    empty: float = 0.02
    seed: int = 0
    method: str = METHODS[0]

    def __post_init__(self) -> None:
        if self.ranks < 2 or self.images < 1 or self.kills < 0:
            raise ValueError('needed are at least 2 ranks with 1 image, and no kills below 0.')
        if self.method not in METHODS:
            raise ValueError(f'method is {self.method!r}; allowed is one of {", ".join(METHODS)}.')
        for name in ('save', 'check'):
            step = getattr(self, name)
            if step < 1 or self.updates % step:
                raise ValueError(
                    f'{name}={step} must divide the number of updates, {self.updates}.'
                )
        if self.kills and self.updates < 2 * self.save + 2:
            raise ValueError(
                f'a kill between the first checkpoint, at update {self.save}, and the middle of '
                f'the run needs at least {2 * self.save + 2} updates, not {self.updates}.'
            )


@dataclass(frozen=True)
class Plan:
    """The faults, by optimizer update from 0.

    Args:
        nan: the rank whose loss is not a number.
        empty: the ranks that see no object.
        kills: updates after which all ranks are killed, in rising order.
    """

    nan: Mapping[int, int]
    empty: Mapping[int, tuple[int, ...]]
    kills: tuple[int, ...]

    @property
    def skipped(self) -> int:
        """Estimates, and K-FAC's measurements, that cannot be finite."""
        return sum(update % INTERVAL == 0 for update in self.nan)


def draw_plan(options: Options) -> Plan:
    """The faults of a run; each kind occurs at least once where its share is above 0."""
    rng = np.random.default_rng(options.seed)

    def updates(share: float) -> list[int]:
        count = math.ceil(share * options.updates)
        return sorted(map(int, rng.choice(options.updates, count, replace=False)))

    nan = {update: int(rng.integers(options.ranks)) for update in updates(options.nan)}
    empty = {
        update: tuple(map(int, rng.permutation(options.ranks)[: rng.integers(options.ranks) + 1]))
        for update in updates(options.empty)
    }
    kills = rng.integers(options.save + 1, options.updates // 2 + 1, options.kills)
    return Plan(nan, empty, tuple(sorted(map(int, kills))))
