"""Optimizers that MMEngine lacks, and where optimizers keep their second moments."""

from .adan import build_adan
from .lamb import LAMBOptimizer
from .lars import build_lars
from .parameterwise import register_parameterwise
from .precondition import SecondMoment, register_second_moment

__all__ = [
    'LAMBOptimizer',
    'SecondMoment',
    'build_adan',
    'build_lars',
    'register_parameterwise',
    'register_second_moment',
]
