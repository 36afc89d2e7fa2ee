"""Hooks beside the optimizer wrappers."""

from .adan_restart import AdanRestartHook
from .seed_epoch import SeedEpochHook
from .variance_table import VarianceTableHook

__all__ = ['AdanRestartHook', 'SeedEpochHook', 'VarianceTableHook']
