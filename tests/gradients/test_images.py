"""Images of an estimate, over ranks and micro-batches of different sizes."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
from networks import ReplayNet
from ranks import run_ranks
from torch.nn.parallel import DistributedDataParallel

from agvm_mm.distributed import ProcessGroupCommunicator, SingleProcess
from agvm_mm.gradients import AllPairs, HalfSplitRanks
from agvm_mm.statistics import partition_parameters

IMAGES = [[4, 4], [4, 1], [2, 4]]  # by rank and micro-batch


def _net() -> ReplayNet:
    return ReplayNet(dict(backbone=3, neck=2), torch.zeros(5, dtype=torch.float64))


def _measure(rank: int, kind: type) -> float:
    model = DistributedDataParallel(_net())
    communicator = ProcessGroupCommunicator(dist.group.WORLD, halves=True)
    collector = kind(partition_parameters(model.module), communicator)
    for k, images in enumerate(IMAGES[rank]):
        gradient = torch.randn(5, dtype=torch.float64)
        with collector.around_backward(k, 2, images):
            if k == 0:
                with model.no_sync():
                    (sum(model([gradient]).values()) / 2).backward()
            else:
                (sum(model([gradient]).values()) / 2).backward()
    return collector.estimate().images


def test_all_pairs_count_the_harmonic_mean_of_their_micro_batches():
    expected = 36 / sum(1 / images for rank in IMAGES for images in rank)
    for found in run_ranks(_measure, 3, AllPairs):
        assert found == pytest.approx(expected, rel=1e-14)


def test_halves_of_ranks_count_by_their_share():
    """4 / b = 1 / b_a + 1 / b_b, where a half's own count is again harmonic."""
    first = 4 / sum(1 / images for images in IMAGES[0])
    second = 16 / sum(1 / images for rank in IMAGES[1:] for images in rank)
    for found in run_ranks(_measure, 3, HalfSplitRanks):
        assert found == pytest.approx(4 / (1 / first + 1 / second), rel=1e-14)


def test_equal_micro_batches_count_all_their_images():
    collector = AllPairs(partition_parameters(model := _net()), SingleProcess())
    for k in range(3):
        with collector.around_backward(k, 3, images=7):
            (sum(model([torch.randn(5, dtype=torch.float64)]).values()) / 3).backward()
    assert collector.estimate().images == pytest.approx(21, rel=1e-14)


def test_one_micro_batch_that_does_not_tell_leaves_the_images_unknown():
    collector = AllPairs(partition_parameters(model := _net()), SingleProcess())
    for k in range(2):
        with collector.around_backward(k, 2, images=5 * k):
            (sum(model([torch.randn(5, dtype=torch.float64)]).values()) / 2).backward()
    estimate = collector.estimate()
    assert estimate.images == 0 and estimate.noise is None and estimate.finite
