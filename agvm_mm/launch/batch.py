"""The images of an optimizer update, on any number of ranks, and the learning rate for them.

    total batch = ranks x images per rank x accumulative_counts

A config that sets ``total_batch_size`` (or a launch with ``--total-batch-size``, which wins)
leaves ``accumulative_counts`` to the launch, and its iterations count optimizer updates at that
batch. The recipe is then the same on 8 GPUs and on 768. MMEngine counts micro-batches, so its
lengths are multiplied by ``accumulative_counts`` (see :mod:`.lengths`), and iteration-based
schedules are stepped at updates by :class:`agvm_mm.hooks.UpdateParamSchedulerHook`.

These stay as they are: lengths of ``agvm`` and ``clip_grad``, which the wrapper itself counts in
updates, and lengths in epochs, since an epoch has the same images whatever the ranks. Where the
micro-batches of an epoch are no multiple of ``accumulative_counts``, an update reaches into the
next epoch, as always in MMEngine.

The config that MMEngine writes to the work directory carries the mark ``total_batch_size_applied``.
Launched again, its lengths are first turned back into updates, before ``--cfg-options`` are merged,
and then converted for the ranks of the new launch, whatever their number.

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
from typing import Any

from mmengine.config import Config

from agvm_runs.checks import counted
from agvm_runs.work_dir import type_name

from ..wrappers.total_batch import APPLIED as MARK
from ..wrappers.total_batch import TOTAL_BATCH as KEY
from .errors import LaunchError, Note
from .lengths import convert_lengths, schedule_by_micro_batch, schedule_by_update

OWN_RATES = ('eta_max', 'eta_min', 'min_value')  # the last is ReduceOnPlateauLR's


def accumulative_counts(total: int, ranks: int, images: int) -> int:
    """Micro-batches in an update of ``total`` images on ``ranks`` ranks of ``images`` each.

    Raises:
        LaunchError: ``total`` is no positive multiple of ranks x images.
    """
    if isinstance(total, bool) or not isinstance(total, int) or total < 1:
        raise LaunchError(f'{KEY} is {total!r}; allowed is a whole number of images, at least 1.')
    micro = ranks * images
    below = total // micro * micro
    if total != below:
        usable = (
            f'the nearest usable are {below} and {below + micro}'
            if below
            else f'the smallest usable is {micro}, less needs fewer images per rank'
        )
        raise LaunchError(
            f'{KEY}={total} is no multiple of {_product(ranks, images)} (train_dataloader.'
            f'batch_size) = {micro}; {usable}.'
        )
    return total // micro


def images_per_rank(cfg: Config) -> int:
    """Images of one rank's micro-batch, ``train_dataloader.batch_size``.

    Raises:
        LaunchError: the config has no single one.
    """
    loader = cfg.get('train_dataloader')
    images = loader.get('batch_size') if isinstance(loader, dict) else None
    if isinstance(images, bool) or not isinstance(images, int) or images < 1:
        raise LaunchError(
            f'train_dataloader.batch_size is {images!r}; allowed is a whole number, at least 1, '
            'where the total batch has to be known.'
        )
    return images


def effective_batch(cfg: Config, ranks: int) -> int:
    """Images of one optimizer update of ``cfg`` as it stands."""
    return ranks * images_per_rank(cfg) * int(cfg.optim_wrapper.get('accumulative_counts') or 1)


def apply_total_batch_size(cfg: Config, ranks: int, total: int | None = None) -> list[Note]:
    """Choose ``accumulative_counts`` and convert every length; nothing without a total batch.

    Args:
        cfg: the config, in updates (see :func:`restore_updates`); changed in place.
        ranks: number of ranks of this launch.
        total: ``--total-batch-size``; None for the config's ``total_batch_size``.

    Raises:
        LaunchError: the batch does not divide, or contradicts the config's accumulative_counts.
    """
    total = cfg.get(KEY) if total is None else total
    if total is None:
        return []
    images = images_per_rank(cfg)
    counts = accumulative_counts(total, ranks, images)
    _require_one_optimizer(cfg)
    given = cfg.optim_wrapper.get('accumulative_counts')
    if given is not None and given != counts:
        raise LaunchError(
            f'optim_wrapper.accumulative_counts={given} contradicts {KEY}={total}, which needs '
            f'{counts} on {_product(ranks, images)}: leave one of the two out.'
        )
    cfg.optim_wrapper['accumulative_counts'] = counts
    schedule_by_update(cfg, counts)
    convert_lengths(cfg, lambda length, _: length * counts)
    cfg[KEY] = total
    cfg[MARK] = dict(ranks=ranks, images=images, accumulative_counts=counts)
    parts = f'{_product(ranks, images)} x {counted(counts, "micro-batch")}'
    return [Note(f'total batch {total} = {parts}')]


def restore_updates(cfg: Config) -> None:
    """Undo :func:`apply_total_batch_size` in a config that a run has written; else do nothing.

    Raises:
        LaunchError: a length was edited and is no whole number of updates any more.
    """
    if cfg.get(MARK) is None:
        return
    counts = int(cfg[MARK]['accumulative_counts'])

    def to_updates(length: int, where: str) -> int:
        if length % counts:
            raise LaunchError(
                f'{where}={length} counts micro-batches in this config, {counts} to an update '
                f'({MARK}); allowed is a multiple of {counts}.'
            )
        return length // counts

    convert_lengths(cfg, to_updates)
    schedule_by_micro_batch(cfg)
    cfg.optim_wrapper.pop('accumulative_counts', None)
    cfg.pop(MARK)


def wants_scaling(cfg: Config) -> bool:
    """Whether the config itself switches MMEngine's scaling on."""
    return bool((cfg.get('auto_scale_lr') or {}).get('enable', False))


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
    optimizer = cfg.optim_wrapper.get('optimizer')
    lr = optimizer.get('lr') if isinstance(optimizer, dict) else None
    if isinstance(lr, bool) or not isinstance(lr, (int, float)):
        raise LaunchError(
            f'{_asked(cfg)[0]} needs optim_wrapper.optimizer.lr to be a number, it is {lr!r}.'
        )
    base = _base_batch(cfg, effective, written)
    own, asked = ', '.join(_own_rates(cfg)), _asked(cfg)[0]
    settings = dict(cfg.get('auto_scale_lr') or {})
    if effective == base:
        text = f'lr {lr:g} kept: effective batch {effective} is the base batch'
    else:
        optimizer['lr'] = lr * effective / base
        settings['scaled_from'] = dict(lr=lr, base_batch_size=base)
        batches = f'effective batch {effective} over base {base}'
        text = f'lr {lr:g} -> {optimizer["lr"]:g} (linear, {batches})'
    cfg.auto_scale_lr = {**settings, 'enable': False, 'base_batch_size': effective}
    if effective == base or not own:
        return Note(text)
    return Note(
        f'{asked} multiplies optim_wrapper.optimizer.lr={lr:g} by {effective / base:g} ({batches}) '
        f'and leaves the rates of the schedules as they are written: {own}; multiply them by the '
        'same number in the config.',
        logging.WARNING,
    )


def _product(ranks: int, images: int) -> str:
    return f'{counted(ranks, "rank")} x {counted(images, "image")}'


def _require_one_optimizer(cfg: Config) -> None:
    wrapper: Any = cfg.get('optim_wrapper')
    if not isinstance(wrapper, dict) or 'optimizer' not in wrapper:
        raise LaunchError(
            f'{KEY} needs one optimizer for the whole model; allowed is an optim_wrapper with '
            '`optimizer`, which this config does not have.'
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
