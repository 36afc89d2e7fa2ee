"""The images of an optimizer update, on any number of ranks.

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
"""

from __future__ import annotations

from typing import Any

from mmengine.config import Config

from agvm_runs.checks import counted

from ..wrappers.total_batch import APPLIED as MARK
from ..wrappers.total_batch import TOTAL_BATCH as KEY
from .errors import LaunchError, Note
from .lengths import convert_lengths, schedule_by_micro_batch, schedule_by_update


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
    return [Note(batch_line(cfg, ranks))]


def batch_line(cfg: Config, ranks: int) -> str:
    """The batch of an update of ``cfg`` as it stands, as a product."""
    counts = int(cfg.optim_wrapper.get('accumulative_counts') or 1)
    parts = f'{_product(ranks, images_per_rank(cfg))} x {counted(counts, "micro-batch")}'
    return f'total batch {effective_batch(cfg, ranks)} = {parts}'


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


def _product(ranks: int, images: int) -> str:
    return f'{counted(ranks, "rank")} x {counted(images, "image")}'


def _require_one_optimizer(cfg: Config) -> None:
    wrapper: Any = cfg.get('optim_wrapper')
    if not isinstance(wrapper, dict) or 'optimizer' not in wrapper:
        raise LaunchError(
            f'{KEY} needs one optimizer for the whole model; allowed is an optim_wrapper with '
            '`optimizer`, which this config does not have.'
        )
