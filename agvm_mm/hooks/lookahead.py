"""Batches of a training loop before their iteration."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from mmengine.runner import BaseLoop, EpochBasedTrainLoop


class Lookahead:
    """A data loader, or an iterator over one, whose next batches can be seen early.

    Everything else about the loader is read from it and written to it.

    Args:
        source: what the training loop goes through.
    """

    def __init__(self, source: Any) -> None:
        vars(self).update(_source=source, _iterator=source, _ahead=deque())

    def __iter__(self) -> Iterator[Any]:
        vars(self).update(_iterator=iter(self._source), _ahead=deque())
        return self

    def __next__(self) -> Any:
        return self._ahead.popleft() if self._ahead else next(self._iterator)

    def __len__(self) -> int:
        return len(self._source)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._source, name, value)

    def peek(self, count: int) -> list[Any]:
        """The next ``count`` batches, or as many as the epoch has left."""
        while len(self._ahead) < count:
            try:
                self._ahead.append(next(self._iterator))
            except StopIteration:
                break
        return list(self._ahead)[:count]


def look_ahead(loop: BaseLoop) -> Lookahead:
    """Let the batches of ``loop`` be seen early.

    Raises:
        ValueError: a loop that does not take its batches as MMEngine's loops do.
    """
    for key in ('dataloader_iterator', 'dataloader'):
        source = getattr(loop, key, None)
        if source is not None and (key != 'dataloader' or isinstance(loop, EpochBasedTrainLoop)):
            ahead = source if isinstance(source, Lookahead) else Lookahead(source)
            setattr(loop, key, ahead)
            return ahead
    raise ValueError(
        f'train_cfg.type is {type(loop).__name__}, whose batches ExactAccumulationHook cannot see '
        "before their iteration; allowed are 'EpochBasedTrainLoop' and 'IterBasedTrainLoop'."
    )
