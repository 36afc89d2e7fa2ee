"""A total batch that nobody has applied, or a rule of rescaling.

``total_batch_size`` and ``auto_scale_lr.rule`` in a config are not MMEngine's: tools/train.py turns
them into accumulation, rates and lengths. A launcher that does not know the keys trains another
batch, or rescales the learning rate alone, without a word.
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
START = (
    "start with agvm_mm's tools/train.py, call agvm_mm.launch.runner.resolve_batch before the "
    'Runner is built'
)


def require_applied(cfg: Mapping[str, Any]) -> None:
    """Stop a run whose config sets a total batch or a rule that the launch has not applied.

    Args:
        cfg: the config of the run.

    Raises:
        ValueError: it has not, or for another number of ranks.
    """
    scaling = cfg.get('auto_scale_lr') or {}
    if scaling.get('enable') and scaling.get('rule') is not None:
        raise ValueError(
            f'auto_scale_lr.rule is {scaling["rule"]!r} in the config, and the launcher of this '
            f'run does not know it and would scale the learning rate linearly and alone; {START}, '
            'or set auto_scale_lr.enable=False.'
        )
    total, applied = cfg.get(TOTAL_BATCH), cfg.get(APPLIED)
    if total is None or (applied is not None and applied['ranks'] == get_world_size()):
        return
    raise ValueError(
        f'{TOTAL_BATCH} is {total!r} in the config, and the launcher of this run does not know it '
        f'and would train another batch; {START}, or set '
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
