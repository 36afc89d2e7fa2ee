"""Hooks beside the optimizer wrappers; none changes an update."""

from .seed_epoch import SeedEpochHook
from .training_clock import TrainingClockHook
from .variance_table import VarianceTableHook

__all__ = ['SeedEpochHook', 'TrainingClockHook', 'VarianceTableHook']
