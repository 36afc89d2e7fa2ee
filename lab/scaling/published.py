"""Published training times against the cost model.

A published time fixes what no paper prints, the compute time of a step; the model then predicts
another published run on the same hardware with as many images a GPU. What is compared is how time
grows with the number of GPUs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from .cluster import Cluster
from .model import Workload, mean_step, training_time

COCO = Workload()
# MLPerf's codes train in half precision. The parameters of its detectors are taken to be those of
# Faster R-CNN R50, which matters little: most of the traffic hides behind the backward pass.
MASK_RCNN = replace(COCO, element=2, images_per_gpu=1)
RETINANET = replace(COCO, element=2, images_per_gpu=1, images=1_170_301, modules=3)


@dataclass(frozen=True)
class PublishedRun:
    """One training run as published.

    Args:
        name: what it is called.
        cluster: stem of the file in ``lab/clusters``.
        gpus: those that train; MLPerf runs may have others for evaluation.
        workload: with the run's epochs.
        scheme: how it reduces gradients.
        minutes: published time.
    """

    name: str
    cluster: str
    gpus: int
    workload: Workload
    scheme: str
    minutes: float


def _run(
    name: str, cluster: str, gpus: int, work: Workload, epochs: float, scheme: str, minutes: float
) -> PublishedRun:
    return PublishedRun(name, cluster, gpus, replace(work, epochs=epochs), scheme, minutes)


A100, H100 = 'a100_8x200g', 'h100_8x400g'
# Xue et al., NeurIPS 2022. The GPUs of the batch-32 run are not published; 2 images a GPU as in
# the large run are assumed. Their estimates are 5 iterations apart by default.
AGVM = replace(COCO, interval=5)
AGVM_SMALL = _run('AGVM paper, batch 32', A100, 16, AGVM, 12, 'ddp', 148.0)
AGVM_LARGE = _run('AGVM paper, batch 1536', A100, 768, AGVM, 12, 'authors', 4.2)
# MLPerf Training results; RetinaNet's epochs are the reference convergence points at that batch.
MASK_20 = _run('MLPerf 2.0 Mask R-CNN', A100, 256, MASK_RCNN, 17, 'ddp', 3.09)
MASK_21 = _run('MLPerf 2.1 Mask R-CNN', A100, 256, MASK_RCNN, 16, 'ddp', 2.75)
MASK_11 = _run('MLPerf 1.1 Mask R-CNN', A100, 272, MASK_RCNN, 19, 'ddp', 3.24)
RETINA_30 = _run('MLPerf 3.0 RetinaNet', H100, 768, RETINANET, 5.0, 'ddp', 1.51)
RETINA_31 = _run('MLPerf 3.1 RetinaNet', H100, 2048, RETINANET, 7.9, 'ddp', 0.855)
RETINA_40 = _run('MLPerf 4.0 RetinaNet', H100, 2528, RETINANET, 8.62, 'ddp', 0.778)

COMPARISONS = (
    (AGVM_SMALL, AGVM_LARGE),
    (MASK_20, MASK_21),
    (MASK_20, MASK_11),
    (RETINA_30, RETINA_31),
    (RETINA_30, RETINA_40),
)


@dataclass(frozen=True)
class Deviation:
    """A prediction beside what was published.

    Args:
        known: name of the run that fixed the compute time.
        run: name of the predicted run.
        gpus: of the predicted run.
        step: seconds of a step of the known run that are compute.
        predicted: minutes.
        published: minutes.
    """

    known: str
    run: str
    gpus: int
    step: float
    predicted: float
    published: float

    @property
    def relative(self) -> float:
        """(predicted - published) / published."""
        return self.predicted / self.published - 1


def with_compute(cluster: Cluster, seconds: float) -> Cluster:
    """The cluster with a compute time of ``seconds`` a step, whatever the images."""
    return replace(cluster, seconds_per_step=seconds, seconds_per_image=0.0)


def implied_compute(cluster: Cluster, run: PublishedRun) -> float:
    """Compute seconds of a step with which the model gives the published time, by bisection."""
    work = run.workload
    step = 60 * run.minutes / (work.epochs * work.iterations(run.gpus))
    low, high = 0.0, step
    for _ in range(60):
        middle = (low + high) / 2
        over = mean_step(with_compute(cluster, middle), work, run.gpus, run.scheme) > step
        low, high = (low, middle) if over else (middle, high)
    return low


def compare(cluster: Cluster, known: PublishedRun, run: PublishedRun) -> Deviation:
    """Predict ``run`` from ``known``; both on ``cluster``."""
    compute = implied_compute(cluster, known)
    seconds = training_time(with_compute(cluster, compute), run.workload, run.gpus, run.scheme)
    return Deviation(known.name, run.name, run.gpus, compute, seconds / 60, run.minutes)
