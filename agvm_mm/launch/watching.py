"""What a run shows while it trains: short lines, the table of modules, the log interval."""

from __future__ import annotations

import logging
from typing import Any

from agvm_runs.checks import counted
from agvm_runs.work_dir import type_name

from ..hooks import AGVMLogProcessor, VarianceTableHook
from .errors import Note
from .lengths import hooks_of
from .record import Launch

LINES = AGVMLogProcessor.__name__
TABLE = VarianceTableHook.__name__
OLD_KEYS = {
    'optimizer': 'optim_wrapper.optimizer',
    'optimizer_config': 'optim_wrapper.clip_grad and accumulative_counts',
    'lr_config': 'param_scheduler',
    'momentum_config': 'param_scheduler',
    'runner': 'train_cfg',
    'total_epochs': 'train_cfg.max_epochs',
    'data': 'train_dataloader, val_dataloader, test_dataloader',
    'evaluation': 'val_evaluator and train_cfg.val_interval',
    'checkpoint_config': 'default_hooks.checkpoint',
    'log_config': 'default_hooks.logger and visualizer',
    'workflow': 'train_cfg',
    'fp16': 'optim_wrapper.type=AmpOptimWrapper',
}


def watch(launch: Launch) -> list[Note]:
    """Set what the config leaves open for a wrapper of ours; another ``type`` stays."""
    cfg = launch.cfg
    wrapper: Any = cfg.get('optim_wrapper') or {}
    if not type_name(wrapper).startswith(('AGVM', 'Parts')):
        return []
    lines = cfg.get('log_processor') or {}
    if type_name(lines) in ('', 'LogProcessor', LINES):
        cfg.log_processor = {**lines, 'type': LINES}
    measures = type_name(wrapper).startswith('AGVM') and wrapper.get('agvm', {}) is not None
    if measures and not any(type_name(hook) == TABLE for hook, _ in hooks_of(cfg)):
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), dict(type=TABLE, interval=1)]
    return []


def name_old_keys(launch: Launch) -> list[Note]:
    """Warn of keys of MMDetection 2.x, which nothing reads any more."""
    found = {key: new for key, new in OLD_KEYS.items() if launch.cfg.get(key) is not None}
    if not found:
        return []
    pairs = ', '.join(f'{key} (today {new})' for key, new in found.items())
    return [Note(f'Nothing reads these keys of MMDetection 2.x: {pairs}.', logging.WARNING)]


def log_interval(launch: Launch) -> list[Note]:
    """Say how many iterations lie between two log lines, where they count updates in the config."""
    cfg = launch.cfg
    counts = int((cfg.get('optim_wrapper') or {}).get('accumulative_counts') or 1)
    loggers = [hook for hook, _ in hooks_of(cfg) if type_name(hook) == 'LoggerHook']
    if counts == 1 or not cfg.get('total_batch_size') or not loggers:
        return []
    interval = loggers[0].get('interval', 10)
    updates = counted(interval // counts, 'update')
    return [Note(f'A log line is written every {updates}, that is {interval} iterations.')]
