"""How the moments of the gradient are collected: hooks on parameters and one small collective."""

from agvm_runs.settings import ESTIMATORS

from .all_pairs import AllPairs
from .build import build_collector
from .collector import BlockPreconditioner, Collector, Preconditioner
from .half_split import HalfSplitMicroBatches, HalfSplitRanks
from .sharded import ShardedAllPairs, shard_group

__all__ = [
    'ESTIMATORS',
    'AllPairs',
    'BlockPreconditioner',
    'Collector',
    'HalfSplitMicroBatches',
    'HalfSplitRanks',
    'Preconditioner',
    'ShardedAllPairs',
    'build_collector',
    'shard_group',
]
