"""Hooks beside the optimizer wrappers."""

from .adan_restart import AdanRestartHook
from .kfac_state import KFACStateHook
from .log_lines import AGVMLogProcessor
from .seed_epoch import SeedEpochHook
from .training_clock import TrainingClockHook
from .update_schedules import UpdateParamSchedulerHook
from .variance_table import VarianceTableHook

__all__ = [
    'AGVMLogProcessor',
    'AdanRestartHook',
    'KFACStateHook',
    'SeedEpochHook',
    'TrainingClockHook',
    'UpdateParamSchedulerHook',
    'VarianceTableHook',
]
