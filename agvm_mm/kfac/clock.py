"""When the factors of a layer are measured anew.

Early in training the factors change fast, later slowly. So the first updates measure and invert
more often than later ones, see :func:`interval_at`. With a threshold, a layer whose averaged
factors moved by less than it is measured more rarely, the gap growing 1, 2, 3, 5, 8 ... times the
base interval; one that moved more has its gap halved. The published method refreshes less often
after some hundred iterations (Osawa et al., CVPR 2019); the rule by which is this project's choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

GROWTH = 10
"""Updates after which a growing interval is one update longer."""


def interval_at(update: int, interval: int, growing: bool) -> int:
    """The interval in force: 1 in the first ten updates, 2 in the next ten, up to ``interval``.

    A long run is hardly dearer by it; a short one has its inverses in time.

    Args:
        update: the present one.
        interval: that of a long run.
        growing: whether it begins at 1.
    """
    return min(interval, 1 + update // GROWTH) if growing else interval


@dataclass
class Clock:
    """One layer's, in optimizer updates.

    Args:
        interval: shortest gap between two measurements.
        threshold: relative change below which the gap grows; None for a fixed gap.
        growing: whether the interval begins at one update.
        gap: the present gap as a multiple of the interval.
        previous: the gap before.
        next: first update of the next measurement.
    """

    interval: int
    threshold: float | None = None
    growing: bool = False
    gap: int = 1
    previous: int = 1
    next: int = 0

    def due(self, update: int) -> bool:
        """Whether the layer is measured on ``update``."""
        return update % self._interval_at(update) == 0 and update >= self.next

    def measured(self, update: int, change: float) -> None:
        """Note that the layer's factors moved by the relative ``change``."""
        if self.threshold is not None:
            still = change < self.threshold
            gap = self.gap + self.previous if still else max(1, self.gap // 2)
            self.previous, self.gap = self.gap if still else 1, gap
        self.next = update + self.gap * self._interval_at(update)

    def _interval_at(self, update: int) -> int:
        return interval_at(update, self.interval, self.growing)

    def state_dict(self) -> dict[str, int]:
        """The clock as plain numbers."""
        return {key: asdict(self)[key] for key in ('gap', 'previous', 'next')}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of :meth:`state_dict`."""
        self.gap, self.previous, self.next = (int(state[k]) for k in ('gap', 'previous', 'next'))
