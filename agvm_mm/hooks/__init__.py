"""Hooks beside the optimizer wrappers."""

from .adan_restart import AdanRestartHook
from .exact_accumulation import ExactAccumulationHook
from .kfac_state import KFACStateHook
from .log_lines import AGVMLogProcessor
from .seed_epoch import SeedEpochHook
from .update_schedules import UpdateParamSchedulerHook
from .variance_table import VarianceTableHook

__all__ = [
    'AGVMLogProcessor',
    'AdanRestartHook',
    'ExactAccumulationHook',
    'KFACStateHook',
    'SeedEpochHook',
    'UpdateParamSchedulerHook',
    'VarianceTableHook',
]
