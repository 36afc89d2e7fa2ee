"""Optimizer wrappers and what they are made of."""

from .adan import build_adan
from .exchange import register_parameterwise
from .lamb import LAMBOptimizer
from .lars import build_lars
from .lr_plan import LearningRatePlan
from .modulator import Modulator
from .precondition import SecondMoment, register_second_moment
from .settings import AGVMSettings
from .wrapper import AGVMAmpOptimWrapper, AGVMMixin, AGVMOptimWrapper

__all__ = [
    'AGVMAmpOptimWrapper',
    'AGVMMixin',
    'AGVMOptimWrapper',
    'AGVMSettings',
    'LAMBOptimizer',
    'LearningRatePlan',
    'Modulator',
    'SecondMoment',
    'build_adan',
    'build_lars',
    'register_parameterwise',
    'register_second_moment',
]
