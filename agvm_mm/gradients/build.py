"""From the name of an estimator to its collector."""

from __future__ import annotations

from agvm_runs.settings import ESTIMATORS

from ..distributed import Communicator
from ..statistics import ModulePartition
from .all_pairs import AllPairs
from .collector import BlockPreconditioner, Collector, Preconditioner
from .half_split import HalfSplitMicroBatches, HalfSplitRanks


def build_collector(
    estimator: str,
    partition: ModulePartition,
    communicator: Communicator,
    preconditioner: Preconditioner | None = None,
    blocks: BlockPreconditioner | None = None,
) -> Collector:
    """The collector of ``estimator``, one of :data:`ESTIMATORS`, for these ranks.

    ``blocks`` is for 'half_split': all pairs would need P on every rank, for every sample.
    """
    if estimator == 'all_pairs':
        return AllPairs(partition, communicator, preconditioner)
    if estimator == 'half_split':
        kind = HalfSplitRanks if communicator.size > 1 else HalfSplitMicroBatches
        return kind(partition, communicator, preconditioner, blocks)
    raise ValueError(f'unknown estimator {estimator!r}; known are {", ".join(ESTIMATORS)}.')
