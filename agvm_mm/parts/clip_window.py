"""The window of updates in which ``clip_grad`` clips."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agvm_runs.checks import is_count, require

WHERE = 'optim_wrapper.clip_grad'


@dataclass(frozen=True)
class UpdateWindow:
    """Optimizer updates ``begin <= update < end``, counted from 0; end None is open."""

    begin: int = 0
    end: int | None = None

    def __contains__(self, update: int) -> bool:
        return update >= self.begin and (self.end is None or update < self.end)


def split_window(
    clip_grad: Mapping[str, Any] | None,
) -> tuple[dict[str, Any] | None, UpdateWindow]:
    """Separate ``begin`` and ``end`` from the keys that MMEngine's wrapper knows.

    The caller's dict is not changed; MMEngine empties the one that it gets.

    Raises:
        ValueError: not a dict with options, or not a window.
    """
    if clip_grad is None:
        return None, UpdateWindow()
    if not isinstance(clip_grad, Mapping) or not set(clip_grad) - {'begin', 'end'}:
        raise ValueError(
            f'{WHERE} is {clip_grad!r}; allowed is a dict such as dict(max_norm=35) or '
            "dict(type='agc'), or None for no clipping."
        )
    rest = {key: value for key, value in clip_grad.items() if key not in ('begin', 'end')}
    begin, end = clip_grad.get('begin', 0), clip_grad.get('end')
    require(is_count(begin, 0), 'begin', begin, 'a whole number of updates, at least 0', WHERE)
    require(
        end is None or is_count(end, begin + 1),
        'end',
        end,
        f'None or a whole number of updates above begin ({begin})',
        WHERE,
    )
    return rest, UpdateWindow(begin, end)
