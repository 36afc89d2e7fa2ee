"""Gradient accumulation of any MMEngine optimizer wrapper, read and changed while it trains.

MMEngine has no public way to either, so its fields are touched here and nowhere else.
"""

from __future__ import annotations

from mmengine.optim import OptimWrapper


def accumulation(wrapper: OptimWrapper) -> int:
    """Backward passes in one optimizer update; 1 where a wrapper of several optimizers has none."""
    return int(getattr(wrapper, '_accumulative_counts', 1))


def place(wrapper: OptimWrapper) -> tuple[int, int]:
    """The index of the coming backward pass within its update, and the passes of that update."""
    done, counts, total = wrapper._inner_count, accumulation(wrapper), wrapper._max_counts
    last = total - total % counts  # the passes from here on are too few for a whole update
    if 0 <= last <= done < total:
        return done - last, total - last
    return done % counts, counts


def set_accumulation(wrapper: OptimWrapper, counts: int, total: int | None = None) -> None:
    """Let every update from now on take ``counts`` backward passes.

    Args:
        wrapper: of the running training.
        counts: at least 1.
        total: backward passes in the whole run, if its length has changed too. A wrapper that was
            never told the length of its run keeps it unknown.
    """
    if wrapper._max_counts >= 0 and total is not None:
        wrapper._max_counts = total
    wrapper._accumulative_counts = counts
    if wrapper._max_counts >= 0:
        wrapper._remainder_counts = wrapper._max_counts % counts
