"""The learning rate alone, linear in the batch.

``--auto-scale-lr`` scales the learning rate linearly with the batch, once:

    lr = lr of the config x effective batch / base batch

The effective batch counts ``accumulative_counts``, which MMEngine's own scaling leaves out, so the
scaling is done here and ``auto_scale_lr.enable`` is False afterwards. The base batch,
``auto_scale_lr.base_batch_size``, is by definition the batch for which the learning rate is
written, so it becomes the effective batch. A second launch from the config that the run has written
changes nothing on as many ranks and scales on from there on others. A resumed run takes its
learning rate from the checkpoint, as always. A schedule keeps the rates that it holds itself,
``eta_max`` or ``eta_min``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from mmengine.config import Config

from agvm_runs.work_dir import type_name

from ..wrappers.total_batch import TOTAL_BATCH as KEY
from .errors import LaunchError, Note

OWN_RATES = ('eta_max', 'eta_min', 'min_value')  # the last is ReduceOnPlateauLR's


def wants_scaling(cfg: Config) -> bool:
    """Whether the config itself switches MMEngine's scaling on."""
    return bool((cfg.get('auto_scale_lr') or {}).get('enable', False))


def learning_rate(cfg: Config, asked: str) -> float:
    """``optim_wrapper.optimizer.lr``.

    Raises:
        LaunchError: it is no number; ``asked`` says what needs it.
    """
    optimizer = (cfg.get('optim_wrapper') or {}).get('optimizer')
    lr = optimizer.get('lr') if isinstance(optimizer, dict) else None
    if isinstance(lr, bool) or not isinstance(lr, (int, float)):
        raise LaunchError(f'{asked} needs optim_wrapper.optimizer.lr to be a number, it is {lr!r}.')
    return lr


def scale_lr(cfg: Config, effective: int, written: int | None = None) -> Note:
    """Scale the learning rate from the base to the effective batch and enter the latter.

    Args:
        cfg: the config; changed in place.
        effective: images of one optimizer update of this launch.
        written: the ``total_batch_size`` that the config itself sets, if any.

    Raises:
        LaunchError: ``optim_wrapper.optimizer.lr`` is no number; it is not known for which batch it
            is written, or it is written for this one.
    """
    lr = learning_rate(cfg, _asked(cfg)[0])
    base = _base_batch(cfg, effective, written)
    own, asked = ', '.join(_own_rates(cfg)), _asked(cfg)[0]
    settings = dict(cfg.get('auto_scale_lr') or {})
    if effective == base:
        text = f'lr {lr:g} kept: effective batch {effective} is the base batch'
    else:
        cfg.optim_wrapper.optimizer['lr'] = lr * effective / base
        settings['scaled_from'] = dict(lr=lr, base_batch_size=base)
        batches = f'effective batch {effective} over base {base}'
        text = f'lr {lr:g} -> {lr * effective / base:g} (linear, {batches})'
    cfg.auto_scale_lr = {**settings, 'enable': False, 'base_batch_size': effective}
    if effective == base or not own:
        return Note(text)
    return Note(
        f'{asked} multiplies optim_wrapper.optimizer.lr={lr:g} by {effective / base:g} ({batches}) '
        f'and leaves the rates of the schedules as they are written: {own}; multiply them by the '
        'same number in the config.',
        logging.WARNING,
    )


def _base_batch(cfg: Config, effective: int, written: int | None) -> int:
    """The batch for which the learning rate of ``cfg`` is written; see :func:`scale_lr`."""
    settings = cfg.get('auto_scale_lr') or {}
    base: int | None = settings.get('base_batch_size')
    asked, off = _asked(cfg)
    if written is None:
        if base is None:
            raise LaunchError(
                f'{asked} needs auto_scale_lr.base_batch_size, the batch for which '
                'optim_wrapper.optimizer.lr is written, and the config does not set it.'
            )
        return base
    if base not in (None, written):
        raise LaunchError(
            f'{asked} cannot tell whether the learning rate is written for {KEY}={written} or for '
            f'auto_scale_lr.base_batch_size={base}: {off} in the first case, give {KEY} as '
            '--total-batch-size instead of in the config in the second.'
        )
    if effective == written and 'scaled_from' not in settings:
        raise LaunchError(f'the learning rate is written for {KEY}={written} already: {off}.')
    return written


def _asked(cfg: Config) -> tuple[str, str]:
    """The setting that asked for scaling, and how to take it back; the config goes first."""
    if wants_scaling(cfg):
        return 'auto_scale_lr.enable=True', 'set auto_scale_lr.enable=False in the config'
    return '--auto-scale-lr', 'leave --auto-scale-lr out'


def _own_rates(cfg: Config) -> Iterator[str]:
    """The learning rates that the schedules hold themselves, for a message."""
    given = cfg.get('param_scheduler') or []
    for index, entry in enumerate([given] if isinstance(given, dict) else given):
        for key in OWN_RATES:
            if type_name(entry).endswith('LR') and entry.get(key):
                yield f'param_scheduler[{index}].{key}={entry[key]!r} ({type_name(entry)})'
