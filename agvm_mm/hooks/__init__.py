"""Hooks beside the optimizer wrappers; none changes an update."""

from .kfac_state import KFACStateHook
from .seed_epoch import SeedEpochHook
from .variance_table import VarianceTableHook

__all__ = ['KFACStateHook', 'SeedEpochHook', 'VarianceTableHook']
