"""When the statistics of a layer are measured anew.

Early in training the factors change fast, later slowly. With a threshold, a layer whose averaged
factors moved by less than it is measured more rarely, the gap growing 1, 2, 3, 5, 8 ... times the
base interval; one that moved more has its gap halved. The published method refreshes less often
after some hundred iterations (Osawa et al., CVPR 2019); the rule by which is this project's choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class StaleSchedule:
    """One clock for each layer, in optimizer updates.

    Args:
        layers: how many.
        interval: shortest gap between two measurements.
        threshold: relative change below which the gap grows; None for a fixed gap.
    """

    def __init__(self, layers: int, interval: int, threshold: float | None = None) -> None:
        self._interval = interval
        self._threshold = threshold
        self._gaps = [1] * layers
        self._previous = [1] * layers
        self._next = [0] * layers

    @property
    def gaps(self) -> Sequence[int]:
        """Of every layer, the present gap as a multiple of the interval."""
        return tuple(self._gaps)

    def due(self, update: int) -> list[bool]:
        """Which layers are measured on ``update``."""
        if update % self._interval:
            return [False] * len(self._next)
        return [update >= at for at in self._next]

    def measured(self, layer: int, update: int, change: float) -> None:
        """Note that a layer's factors moved by the relative ``change``."""
        if self._threshold is not None:
            gap, before = self._gaps[layer], self._previous[layer]
            self._previous[layer] = gap
            self._gaps[layer] = gap + before if change < self._threshold else max(1, gap // 2)
            if change >= self._threshold:
                self._previous[layer] = 1
        self._next[layer] = update + self._gaps[layer] * self._interval

    def state(self, layer: int) -> dict[str, int]:
        """A layer's clock as plain numbers."""
        return {
            'gap': self._gaps[layer],
            'previous': self._previous[layer],
            'next': self._next[layer],
        }

    def load(self, layer: int, state: Mapping[str, Any]) -> None:
        """Inverse of :meth:`state`."""
        self._gaps[layer] = int(state['gap'])
        self._previous[layer] = int(state['previous'])
        self._next[layer] = int(state['next'])
