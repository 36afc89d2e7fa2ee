"""A total batch that nobody has applied.

``total_batch_size`` in a config is not MMEngine's: tools/train.py turns it into accumulation and
lengths. A launcher that does not know the key trains another batch without a word.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.dist import get_world_size
from mmengine.logging import MessageHub

from agvm_runs.work_dir import read_literals

TOTAL_BATCH = 'total_batch_size'
APPLIED = 'total_batch_size_applied'


def require_applied(cfg: Mapping[str, Any]) -> None:
    """Stop a run whose config sets a total batch that the launch has not applied.

    Args:
        cfg: the config of the run.

    Raises:
        ValueError: it has not, or for another number of ranks.
    """
    total, applied = cfg.get(TOTAL_BATCH), cfg.get(APPLIED)
    if total is None or (applied is not None and applied['ranks'] == get_world_size()):
        return
    raise ValueError(
        f'{TOTAL_BATCH} is {total!r} in the config, and the launcher of this run does not know it '
        "and would train another batch; start with agvm_mm's tools/train.py, or set "
        f'optim_wrapper.accumulative_counts and the lengths yourself and {TOTAL_BATCH}=None.'
    )


def require_applied_here(hub: MessageHub) -> None:
    """:func:`require_applied` where the config is known from the message hub alone.

    A run that has resumed finds the config of the run before it there and is let go.
    """
    text = hub.get_info('cfg', '')
    if isinstance(text, str) and not hub.get_info('iter', 0):
        require_applied(read_literals(text))
