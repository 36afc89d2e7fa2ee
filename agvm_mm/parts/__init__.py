"""The methods, each a part that an optimizer wrapper holds; torch alone, no MMEngine."""

from agvm_runs.settings import AGVMSettings

from .agvm import AGVMPart
from .groups import JoinedGroupsPart
from .kfac import KFACPart
from .learning_rates import LearningRatePlan
from .part import Log, Part, Pass, Run
from .unit_clip import UnitClipPart

__all__ = [
    'AGVMPart',
    'AGVMSettings',
    'JoinedGroupsPart',
    'KFACPart',
    'LearningRatePlan',
    'Log',
    'Part',
    'Pass',
    'Run',
    'UnitClipPart',
]
