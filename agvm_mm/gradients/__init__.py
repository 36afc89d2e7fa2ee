"""How the moments of the gradient are collected: hooks on parameters and one small collective."""

from ..statistics.constants import ESTIMATORS
from .all_pairs import AllPairs
from .build import build_collector
from .collector import BlockPreconditioner, Collector, Preconditioner
from .communicator import Communicator, ProcessGroupCommunicator, SingleProcess
from .half_split import HalfSplitMicroBatches, HalfSplitRanks

__all__ = [
    'ESTIMATORS',
    'AllPairs',
    'BlockPreconditioner',
    'Collector',
    'Communicator',
    'HalfSplitMicroBatches',
    'HalfSplitRanks',
    'Preconditioner',
    'ProcessGroupCommunicator',
    'SingleProcess',
    'build_collector',
]
