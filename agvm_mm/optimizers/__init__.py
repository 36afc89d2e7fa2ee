"""Optimizers that torch lacks, in MMEngine's registry."""

from .adan import build_adan
from .lamb import LAMBOptimizer
from .lars import build_lars

__all__ = ['LAMBOptimizer', 'build_adan', 'build_lars']
