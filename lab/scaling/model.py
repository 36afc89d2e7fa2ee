r"""What one training run costs on a cluster: plain DDP, AGVM, and the authors' scheme.

One optimizer step takes

.. math:: t = t_\mathrm{compute} + t_\mathrm{exposed} + t_\mathrm{estimate}

where DDP's buckets are reduced behind the backward pass, so that only what is left after it is
exposed, and the authors' per-tensor reductions start when the backward pass has ended. An estimate
is charged in full: nothing of it is taken to overlap. Waiting for slower GPUs, data loading,
start-up and evaluation are not modelled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from agvm_runs.checks import is_count, is_number, require

from . import collectives
from .cluster import Cluster

SCHEMES = ('ddp', 'all_pairs', 'half_split', 'authors')
COUNTS = ('parameters', 'tensors', 'modules', 'element', 'images', 'interval')
"""Fields of :class:`Workload` that are whole numbers."""


@dataclass(frozen=True)
class Workload:
    """What is trained; the defaults are mmdet's Faster R-CNN R50-FPN on COCO for 12 epochs.

    Args:
        parameters: trainable numbers.
        tensors: trainable parameter tensors.
        modules: modules of the normalised variance.
        element: bytes of a number on the wire.
        bucket: bytes of one DDP bucket.
        backward: share of the compute time in which gradients become ready.
        images: images in an epoch.
        images_per_gpu: of one step.
        epochs: length of the run.
        interval: updates between two estimates.

    Raises:
        ValueError: a number is outside its range.
    """

    parameters: int = 41_527_712
    tensors: int = 156
    modules: int = 5
    element: int = 4
    bucket: float = 25.0 * 2**20
    backward: float = 0.6
    images: int = 117_266
    images_per_gpu: float = 2.0
    epochs: float = 12.0
    interval: int = 10

    def __post_init__(self) -> None:
        for key in COUNTS:
            value = getattr(self, key)
            require(is_count(value, 1), key, value, 'a whole number, at least 1', 'workload')
        for key in ('bucket', 'images_per_gpu', 'epochs'):
            value = getattr(self, key)
            holds = is_number(value) and value > 0
            require(holds, key, value, 'a positive number', 'workload')
        share = self.backward
        holds = is_number(share) and 0 <= share <= 1
        require(holds, 'backward', share, 'a number from 0 to 1', 'workload')

    @property
    def gradient(self) -> float:
        """Bytes of the whole gradient."""
        return float(self.parameters * self.element)

    def iterations(self, gpus: int) -> float:
        """Optimizer updates in an epoch; the last one may be short of images."""
        return math.ceil(self.images / (gpus * self.images_per_gpu))


@dataclass(frozen=True)
class StepCost:
    """Seconds of one optimizer step."""

    compute: float
    exposed: float
    estimate: float

    @property
    def total(self) -> float:
        """All three parts."""
        return self.compute + self.exposed + self.estimate


def step_cost(
    cluster: Cluster, workload: Workload, gpus: int, scheme: str, estimating: bool
) -> StepCost:
    """One step of ``scheme``, one of :data:`SCHEMES`, with or without an estimate."""
    compute = cluster.compute(workload.images_per_gpu)
    if scheme == 'authors':
        exposed = _tensor_by_tensor(cluster, workload, gpus)
    else:
        exposed = overlapped(cluster, workload, gpus, compute)
    extra = _ESTIMATES[scheme](cluster, workload, gpus) if estimating and gpus > 1 else 0.0
    return StepCost(compute, exposed, extra)


def mean_step(cluster: Cluster, workload: Workload, gpus: int, scheme: str) -> float:
    """Seconds of a step on average, one of ``interval`` steps estimating."""
    plain = step_cost(cluster, workload, gpus, scheme, estimating=False).total
    estimating = step_cost(cluster, workload, gpus, scheme, estimating=True).total
    return plain + (estimating - plain) / workload.interval


def epoch_time(cluster: Cluster, workload: Workload, gpus: int, scheme: str) -> float:
    """Seconds of one epoch."""
    return workload.iterations(gpus) * mean_step(cluster, workload, gpus, scheme)


def training_time(cluster: Cluster, workload: Workload, gpus: int, scheme: str) -> float:
    """Seconds of the whole run, at a number of epochs that does not depend on the batch."""
    return workload.epochs * epoch_time(cluster, workload, gpus, scheme)


def overlapped(cluster: Cluster, workload: Workload, gpus: int, compute: float) -> float:
    """Seconds that DDP's reductions last beyond the backward pass.

    Buckets become ready in proportion to their bytes and are reduced one after another.
    """
    backward = workload.backward * compute
    finished, sent = 0.0, 0.0
    while sent < workload.gradient:
        size = min(workload.bucket, workload.gradient - sent)
        sent += size
        ready = backward * sent / workload.gradient
        finished = max(ready, finished) + collectives.all_reduce(cluster, gpus, size)
    return max(0.0, finished - backward)


def _tensor_by_tensor(cluster: Cluster, workload: Workload, gpus: int) -> float:
    """One all-reduce for every parameter tensor, of their mean size."""
    size = workload.gradient / workload.tensors
    return workload.tensors * collectives.all_reduce(cluster, gpus, size)


def _no_estimate(cluster: Cluster, workload: Workload, gpus: int) -> float:
    return 0.0


def _all_pairs(cluster: Cluster, workload: Workload, gpus: int) -> float:
    """The local gradient read by every GPU, the mean by all together; one small all-reduce."""
    once = workload.gradient / cluster.memory + workload.tensors * cluster.call
    local = (1 + 1 / gpus) * once
    return local + collectives.all_reduce(cluster, gpus, 16 * (workload.modules + 1))


def _half_split(cluster: Cluster, workload: Workload, gpus: int) -> float:
    """A copy of the gradient, reduced over half the ranks; compared on rank 0.

    Passes over the gradient: 2 of the copy, 7 to form both means, 6 of three inner products.
    """
    local = 15 * workload.gradient / cluster.memory + 7 * workload.tensors * cluster.call
    half = collectives.to_root(cluster, gpus // 2, workload.gradient)
    return local + half + collectives.all_reduce(cluster, gpus, 8 * (3 * workload.modules + 2))


def _authors(cluster: Cluster, workload: Workload, gpus: int) -> float:
    """Half-world reductions of every tensor, both means gathered, cosines on rank 0, broadcast.

    Passes over the gradient: 4 to flatten and to scale, 4 to gather, 6 of the cosines.
    """
    local = 14 * workload.gradient / cluster.memory + 4 * workload.tensors * cluster.call
    halves = _tensor_by_tensor(cluster, workload, gpus // 2)
    pair = collectives.both_ways(cluster, gpus, workload.gradient)
    return local + halves + pair + collectives.to_root(cluster, gpus, 4 * workload.modules)


_ESTIMATES = {
    'ddp': _no_estimate,
    'all_pairs': _all_pairs,
    'half_split': _half_split,
    'authors': _authors,
}
