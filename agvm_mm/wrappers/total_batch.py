"""A total batch that nobody has applied.

``total_batch_size`` in a config is not MMEngine's: tools/train.py turns it into accumulation and
lengths. A launcher that does not know the key trains another batch without a word.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from mmengine.dist import get_world_size
from mmengine.logging import MessageHub, print_log

from agvm_runs.checks import counted
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


def check_applied_here(hub: MessageHub, accumulative_counts: int) -> None:
    """:func:`require_applied` where only the message hub knows the config.

    A run that has resumed finds the config of the run before there (agvm_mm's own launch puts the
    new one in its place). Its batch may have changed on purpose, so a change is a warning.

    Args:
        hub: of the run.
        accumulative_counts: micro-batches of an update of this run.

    Raises:
        ValueError: see :func:`require_applied`.
    """
    text = hub.get_info('cfg', '')
    cfg = read_literals(text) if isinstance(text, str) else {}
    if not hub.get_info('iter', 0):
        require_applied(cfg)
        return
    applied, ranks = cfg.get(APPLIED), get_world_size()
    if applied is None:
        return
    before = (applied['ranks'], applied['accumulative_counts'])
    if before != (ranks, accumulative_counts):
        print_log(
            f'Resumed with another batch: the run before made updates of {TOTAL_BATCH}='
            f'{cfg.get(TOTAL_BATCH)} images ({_shares(*before)}), and this run has '
            f'{_shares(ranks, accumulative_counts)}; start it with the tools/train.py of agvm_mm, '
            'or set optim_wrapper.accumulative_counts and the lengths yourself.',
            logger='current',
            level=logging.WARNING,
        )


def _shares(ranks: int, accumulative_counts: int) -> str:
    return f'{counted(ranks, "rank")} with accumulative_counts={accumulative_counts}'
