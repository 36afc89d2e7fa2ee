"""The lengths and schedules of a config that MMEngine counts in iterations, that is micro-batches.

Schedules are stepped at updates instead, and these lengths are converted:

===================  =============================================  ============================
where                keys                                           only if
===================  =============================================  ============================
``train_cfg``        max_iters, val_interval, val_begin and both    it has ``max_iters``
                     numbers of each of dynamic_intervals
CheckpointHook       interval, save_begin                           ``by_epoch=False``
LoggerHook           interval
EMAHook              interval, begin_iter, and gamma of an average  begin_iter: no begin_epoch
                     whose momentum changes
MeanTeacherHook      interval
``log_processor``    window_size
===================  =============================================  ============================

A key that is left out is filled with MMEngine's default first where that default counts iterations,
so that a log line or an average still spans as many updates. The hooks are found in
``default_hooks`` and ``custom_hooks``; a hook that is not in the table keeps its own counting.

EMAHook averages on the first micro-batch after ``begin_iter`` and every ``interval`` from there. To
meet the last micro-batch of an update, the one that changes the weights, begin_iter 0 becomes 1
update. The averages are then those without accumulation, except that the momentum of ExpMomentumEMA
differs by less than 1/gamma of its change; with ``begin_epoch`` the average is one update late.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mmengine.config import Config

from agvm_runs.work_dir import type_name

from ..curriculum import ComputeParamSchedulerHook
from ..hooks import UpdateParamSchedulerHook
from .errors import LaunchError

# Length and where it is set -> length.
Convert = Callable[[int, str], int]

# Key -> MMEngine's default, or None where a key that is left out needs no conversion.
Keys = Mapping[str, 'int | None']

TRAIN_CFG: Keys = {'max_iters': None, 'val_interval': 1000, 'val_begin': None}
CHECKPOINT: Keys = {'interval': None, 'save_begin': None}
HOOKS: Mapping[str, Keys] = {
    'LoggerHook': {'interval': 10},
    'MeanTeacherHook': {'interval': 1},
    'EMAHook': {'interval': 1},
}
EMA_GAMMA = {'ExpMomentumEMA': 2000, 'MomentumAnnealingEMA': 100}

STOCK_HOOK = 'ParamSchedulerHook'
UPDATE_HOOK = UpdateParamSchedulerHook.__name__
COMPUTE_HOOK = ComputeParamSchedulerHook.__name__  # does the same by the share of compute


def convert_lengths(cfg: Config, convert: Convert) -> None:
    """Pass every length of the table through ``convert``, in place."""
    train_cfg = cfg.get('train_cfg')
    if isinstance(train_cfg, dict) and train_cfg.get('max_iters') is not None:
        convert_keys(train_cfg, TRAIN_CFG, 'train_cfg', convert)
        convert_dynamic_intervals(train_cfg, convert)
    _fill_default_hooks(cfg)
    for hook, where in hooks_of(cfg):
        _convert_hook(hook, where, convert)
    cfg.log_processor = cfg.get('log_processor') or {}
    convert_keys(cfg.log_processor, {'window_size': 10}, 'log_processor', convert)


def convert_keys(entry: dict[str, Any], keys: Keys, where: str, convert: Convert) -> None:
    """Pass the lengths ``keys`` of one entry through ``convert``, in place."""
    for key, default in keys.items():
        value = entry.get(key, default)
        if value is not None:
            entry[key] = _convert_one(value, f'{where}.{key}', convert)


def _convert_one(value: Any, where: str, convert: Convert) -> int:
    """Convert a length; 0 and the negative numbers of a switched-off interval stay."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value):
        raise LaunchError(f'{where} is {value!r}; allowed is a whole number of updates.')
    return convert(int(value), where) if value > 0 else int(value)


def convert_dynamic_intervals(train_cfg: dict[str, Any], convert: Convert) -> None:
    """Pass both numbers of each of ``dynamic_intervals`` through ``convert``."""
    if train_cfg.get('dynamic_intervals'):
        where = 'train_cfg.dynamic_intervals'
        train_cfg['dynamic_intervals'] = [
            tuple(_convert_one(number, where, convert) for number in pair)
            for pair in train_cfg['dynamic_intervals']
        ]


def _fill_default_hooks(cfg: Config) -> None:
    """Write out the one default hook with a length, which MMEngine adds where it is left out."""
    cfg.default_hooks = cfg.get('default_hooks') or {}
    cfg.default_hooks.setdefault('logger', dict(type='LoggerHook'))


def hooks_of(cfg: Config) -> Iterator[tuple[dict[str, Any], str]]:
    """Every hook of a config and where it is set."""
    default = cfg.get('default_hooks') or {}
    named = [(hook, f'default_hooks.{name}') for name, hook in default.items()]
    listed = [
        (hook, f'custom_hooks[{index}]') for index, hook in enumerate(cfg.get('custom_hooks') or [])
    ]
    yield from ((hook, where) for hook, where in named + listed if isinstance(hook, dict))


def _convert_hook(hook: dict[str, Any], where: str, convert: Convert) -> None:
    name = type_name(hook)
    if name == 'CheckpointHook' and not hook.get('by_epoch', True):
        convert_keys(hook, CHECKPOINT, where, convert)
    convert_keys(hook, HOOKS.get(name, {}), where, convert)
    if name == 'EMAHook':
        _convert_ema(hook, where, convert)


def _convert_ema(hook: dict[str, Any], where: str, convert: Convert) -> None:
    gamma = EMA_GAMMA.get(type_name({'type': hook.get('ema_type')}))
    if gamma is not None:
        convert_keys(hook, {'gamma': gamma}, where, convert)
    if not hook.get('begin_epoch'):
        hook['begin_iter'] = hook.get('begin_iter') or 1
        convert_keys(hook, {'begin_iter': None}, where, convert)


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
    entries = schedules_of(cfg)
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


def schedules_of(cfg: Config) -> list[Any]:
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
