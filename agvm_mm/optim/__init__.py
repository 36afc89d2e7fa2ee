"""Optimizer wrappers and what they are made of."""

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
    'LearningRatePlan',
    'Modulator',
    'SecondMoment',
    'register_second_moment',
]
