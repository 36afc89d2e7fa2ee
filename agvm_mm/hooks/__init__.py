"""Hooks beside the optimizer wrappers."""

from .adan_restart import AdanRestartHook
from .kfac_state import KFACStateHook
from .seed_epoch import SeedEpochHook
from .update_schedules import UpdateParamSchedulerHook
from .variance_table import VarianceTableHook

__all__ = [
    'AdanRestartHook',
    'KFACStateHook',
    'SeedEpochHook',
    'UpdateParamSchedulerHook',
    'VarianceTableHook',
]
