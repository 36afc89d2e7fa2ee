"""The end of a config's warm-up in updates, and AGVM's lengths that are named after it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from agvm_runs.work_dir import type_name

from .errors import LaunchError, Note
from .lengths import schedules_of
from .rescale.rules import interval_of_estimates, margin_after_warmup

AFTER_WARMUP = re.compile(r'after_warmup(?:\s*\+\s*(\d+))?')
BY_BATCH = 'by_batch'
IMAGES = 'auto_scale_lr.epoch_images'


def resolve_lengths_of_agvm(cfg: Config, batch: Callable[[], int]) -> list[Note]:
    """Replace ``begin='after_warmup'`` and ``interval='by_batch'`` by numbers of updates.

    ``begin='after_warmup'`` adds min(100 updates, a quarter of the warm-up), and
    ``begin='after_warmup+N'`` N updates. ``interval='by_batch'`` is 10, and 5 above batch 1024.

    Args:
        cfg: the config, before its lengths are turned into micro-batches; changed in place.
        batch: tells the images of an optimizer update of this run.

    Raises:
        LaunchError: there is no warm-up, or its length in updates is not known.
    """
    agvm = (cfg.get('optim_wrapper') or {}).get('agvm')
    if not isinstance(agvm, dict):
        return []
    notes = []
    begin = agvm.get('begin')
    match = AFTER_WARMUP.fullmatch(begin) if isinstance(begin, str) else None
    if match:
        warmup = warmup_end(cfg, batch())
        if warmup is None:
            raise LaunchError(
                f'optim_wrapper.agvm.begin is {begin!r} and no entry of param_scheduler is a '
                'warm-up with an end; allowed is a whole number of updates.'
            )
        margin = margin_after_warmup(warmup) if match[1] is None else int(match[1])
        agvm['begin'] = warmup + margin
        text = f'{agvm["begin"]} = warm-up {warmup} + margin {margin}'
        notes.append(Note(f'optim_wrapper.agvm.begin {begin!r} -> {text}'))
    if agvm.get('interval') == BY_BATCH:
        agvm['interval'] = interval_of_estimates(batch())
        text = f'{agvm["interval"]} (batch {batch()})'
        notes.append(Note(f'optim_wrapper.agvm.interval {BY_BATCH!r} -> {text}'))
    return notes


def warmup_end(cfg: Config, batch: int) -> int | None:
    """The update at which the last warm-up of ``param_scheduler`` ends; None without one.

    Args:
        cfg: the config. Its iterations are updates, or micro-batches where it sets
            ``accumulative_counts``.
        batch: images of an update, for the length of an epoch.

    Raises:
        LaunchError: the warm-up counts epochs, and the images of one are not known.
    """
    counts = (cfg.get('optim_wrapper') or {}).get('accumulative_counts') or 1
    ends: list[int] = []
    for entry in schedules_of(cfg):
        end = end_of_rise(entry)
        if end is None:
            continue
        if entry.get('by_epoch', True):
            ends.append(math.ceil(end * math.ceil(epoch_images(cfg) / batch)))
        else:
            ends.append(math.ceil(end / counts))
    return max(ends, default=None)


def epoch_images(cfg: Config) -> int:
    """Images of an epoch: ``auto_scale_lr.epoch_images``, or else the length of the data set.

    Raises:
        LaunchError: the data set cannot be read.
    """
    given = (cfg.get('auto_scale_lr') or {}).get('epoch_images')
    if given is not None:
        if isinstance(given, bool) or not isinstance(given, int) or given < 1:
            raise LaunchError(f'{IMAGES} is {given!r}; allowed is a whole number, at least 1.')
        return given
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    try:
        count = len(DATASETS.build(cfg.train_dataloader.dataset))
    except OSError as error:
        raise LaunchError(
            f'the warm-up counts epochs, and the data set that says how long one is cannot be read '
            f'({error}); set {IMAGES}.'
        ) from error
    cfg.auto_scale_lr = {**(cfg.get('auto_scale_lr') or {}), 'epoch_images': count}
    return count


def end_of_rise(entry: Any) -> float | None:
    """Where an entry of ``param_scheduler`` stops to warm up, in its own unit.

    None where it does not raise the learning rate to its base value, or has no end.
    """
    end = entry.get('end')
    name = type_name(entry)
    if name == 'OneCycleLR':
        begin, steps = entry.get('begin') or 0, entry.get('total_steps')
        if steps is None and end is not None:
            steps = end - begin
        return None if steps is None else begin + entry.get('pct_start', 0.3) * steps
    rises: dict[str, Callable[[], bool]] = {
        'LinearLR': lambda: entry.get('start_factor', 1 / 3) < entry.get('end_factor', 1.0),
        'ConstantLR': lambda: entry.get('factor', 1 / 3) < 1,
    }
    warmup = 'Warmup' in name and not name.endswith('Momentum')
    return end if warmup or rises.get(name, bool)() else None
