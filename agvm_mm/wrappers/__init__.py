"""MMEngine's optimizer wrappers with parts."""

from .accumulate import accumulation, set_accumulation
from .wrapper import (
    AGVMAmpOptimWrapper,
    AGVMOptimWrapper,
    PartsAmpOptimWrapper,
    PartsMixin,
    PartsOptimWrapper,
)

__all__ = [
    'AGVMAmpOptimWrapper',
    'AGVMOptimWrapper',
    'PartsAmpOptimWrapper',
    'PartsMixin',
    'PartsOptimWrapper',
    'accumulation',
    'set_accumulation',
]
