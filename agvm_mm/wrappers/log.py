"""Where parts report under MMEngine."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer, MessageHub, print_log
from torch import Tensor

LIMIT = 1000
"""Reports on the device that may wait to be read."""


class MessageHubLog:
    """Text goes to MMEngine's logger, scalars to its message hub under ``train/``.

    Values on the device stay there until somebody looks at a scalar, usually MMEngine's logger
    every tenth iteration. All of them are then read in one transfer.
    """

    def __init__(self, message_hub: MessageHub) -> None:
        self._message_hub = message_hub
        self._unread: list[dict[str, Tensor]] = []

    def say(self, text: str, warning: bool = False) -> None:
        """Write ``text`` to the run's log."""
        print_log(text, logger='current', level=logging.WARNING if warning else logging.INFO)

    def scalars(self, values: Mapping[str, float | Tensor]) -> None:
        """Record values of the present update."""
        unread = {}
        for name, value in values.items():
            key = f'train/{name}'
            history = self._history(key)
            if isinstance(value, Tensor):
                unread[key] = value.detach()
                continue
            if any(key in row for row in self._unread):
                self._read()
            history.update(value)
        if unread:
            self._unread.append(unread)
        if len(self._unread) > LIMIT:
            self._read()

    def drop(self, names: Iterable[str]) -> None:
        """Take values out of the message hub, which would log old ones as new."""
        for name in names:
            self._message_hub.log_scalars.pop(f'train/{name}', None)

    def _history(self, key: str) -> _LazyHistory:
        """The history of a scalar; in the place of MMEngine's, which a resume brings back."""
        histories = self._message_hub.log_scalars
        history = histories.get(key)
        if isinstance(history, _LazyHistory):
            return history
        if history is None:
            self._message_hub.update_scalar(key, 0.0)  # so that checkpoints hold the key
        lazy = _LazyHistory(self._read, *(([], []) if history is None else history.data))
        histories[key] = lazy
        return lazy

    def _read(self) -> None:
        """Bring all values from the device into their histories."""
        unread, self._unread = self._unread, []
        if not unread:
            return
        values = [value.double() for row in unread for value in row.values()]
        numbers = iter(torch.stack(values).tolist())
        for key in (key for row in unread for key in row):
            history, number = self._message_hub.log_scalars.get(key), next(numbers)
            if history is not None:
                history.update(number)


class _LazyHistory(HistoryBuffer):
    """MMEngine's history of a scalar, brought up to date when somebody looks at it.

    MMEngine's own copies all values to add one. Copies and pickles of this one are MMEngine's own.

    Args:
        fetch: brings values that are still on the device, by :meth:`update`.
        *data: values and counts so far.
    """

    _arrays: list[Any]

    def __init__(self, fetch: Callable[[], None], *data: Any) -> None:
        self._fetch = fetch
        self._new: list[tuple[float, int]] = []
        self._arrays: list[Any] = [None, None]
        super().__init__(*data)

    def update(self, log_val: float, count: int = 1) -> None:
        """Add a value."""
        self._new.append((log_val, count))

    def _all(self) -> list[Any]:
        """Values and counts."""
        self._fetch()
        if self._new:
            new, self._new = zip(*self._new), []
            self._arrays = [
                np.append(old, more)[-self.max_length :] for old, more in zip(self._arrays, new)
            ]
        return self._arrays

    # The names under which the methods of the base class use the arrays.
    _log_history = property(lambda self: self._all()[0], lambda self, x: self._set(0, x))
    _count_history = property(lambda self: self._all()[1], lambda self, x: self._set(1, x))

    def _set(self, place: int, array: Any) -> None:
        self._arrays[place] = array

    def __reduce_ex__(self, protocol: Any) -> Any:
        return HistoryBuffer, tuple(self._all())
