"""Optimizers that torch lacks, in MMEngine's registry, and what is known of other classes."""

from .adan import build_adan
from .lamb import LAMBOptimizer
from .lars import build_lars
from .parameterwise import register_parameterwise
from .second_moments import SecondMoment, register_second_moment

__all__ = [
    'LAMBOptimizer',
    'SecondMoment',
    'build_adan',
    'build_lars',
    'register_parameterwise',
    'register_second_moment',
]
