"""Parameter schedules counted in optimizer updates."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config

from ..curriculum import ComputeParamSchedulerHook
from ..hooks import UpdateParamSchedulerHook
from .errors import LaunchError
from .naming import type_name

STOCK_HOOK = 'ParamSchedulerHook'
UPDATE_HOOK = UpdateParamSchedulerHook.__name__
COMPUTE_HOOK = ComputeParamSchedulerHook.__name__  # does the same by the share of compute


def schedule_by_update(cfg: Config, accumulative_counts: int) -> None:
    """Step iteration-based schedules once per optimizer update instead of once per micro-batch.

    Their lengths then need no conversion, and the learning rate of update u is exactly that of
    iteration u without accumulation. Multiplying the lengths instead would come close only: a
    linear warm-up over n updates would be (k - 1)/k of an update ahead at its start.

    Raises:
        LaunchError: an entry's end is left to MMEngine, or the hook that steps them was replaced.
    """
    hooks = cfg.get('default_hooks') or {}
    hook = hooks.get('param_scheduler', dict(type=STOCK_HOOK))
    name = type_name(hook)
    if name not in (STOCK_HOOK, UPDATE_HOOK, COMPUTE_HOOK):
        raise LaunchError(
            f'default_hooks.param_scheduler is {hook!r}, which total_batch_size has to replace; '
            f'allowed is dict(type={STOCK_HOOK!r}).'
        )
    entries = _entries(cfg)
    for index, entry in enumerate(entries):
        if not entry.get('by_epoch', True):
            _fill_end(cfg, entry, index)
    hooks['param_scheduler'] = dict(
        type=COMPUTE_HOOK if name == COMPUTE_HOOK else UPDATE_HOOK,
        accumulative_counts=accumulative_counts,
        converted=[i for i, entry in enumerate(entries) if _is_converted(entry)],
    )
    cfg.default_hooks = hooks
    _import_with_config(cfg, 'agvm_mm')


def schedule_by_micro_batch(cfg: Config) -> None:
    """Undo :func:`schedule_by_update`, but for the ends that it filled in."""
    hook = cfg.default_hooks['param_scheduler']
    name = COMPUTE_HOOK if type_name(hook) == COMPUTE_HOOK else STOCK_HOOK
    cfg.default_hooks['param_scheduler'] = dict(type=name)


def _entries(cfg: Config) -> list[Any]:
    """The entries of ``param_scheduler``, which may be one dict or a list of them."""
    scheduler = cfg.get('param_scheduler') or []
    if isinstance(scheduler, (list, tuple)):
        return list(scheduler)
    if type_name(scheduler):
        return [scheduler]
    raise LaunchError(
        'param_scheduler has schedules for several optimizers, with which total_batch_size cannot '
        'be used: give one list.'
    )


def _import_with_config(cfg: Config, module: str) -> None:
    """Have ``module`` imported by whoever loads the config that the run writes."""
    custom = dict(cfg.get('custom_imports') or {})
    imports = custom.get('imports') or []
    imports = [imports] if isinstance(imports, str) else list(imports)
    custom['imports'] = imports if module in imports else [*imports, module]
    cfg.custom_imports = custom


def _is_converted(entry: Any) -> bool:
    """Whether MMEngine turns the epochs of ``entry`` into iterations when it builds it."""
    return bool(entry.get('convert_to_iter_based')) and bool(entry.get('by_epoch', True))


def _fill_end(cfg: Config, entry: Any, index: int) -> None:
    """Write out the end that MMEngine would take from the loop, which counts micro-batches."""
    if entry.get('end') is not None:
        return
    updates = (cfg.get('train_cfg') or {}).get('max_iters')
    if updates is None:
        raise LaunchError(
            f'param_scheduler[{index}] ({type_name(entry)}) counts iterations but has no end; with '
            'total_batch_size in an epoch-based run set it, in optimizer updates.'
        )
    entry['end'] = int(updates)
