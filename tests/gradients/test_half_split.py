"""The cosine of two half-batch means, over ranks (odd numbers too) and over micro-batches."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
from networks import ReplayNet
from ranks import run_ranks
from torch.nn.parallel import DistributedDataParallel

from agvm_mm.distributed import ProcessGroupCommunicator, SingleProcess
from agvm_mm.gradients import HalfSplitMicroBatches, HalfSplitRanks, build_collector
from agvm_mm.statistics import partition_parameters

SIZES = dict(backbone=30, neck=12)
TOTAL = sum(SIZES.values())


def _gradient(rank: int, k: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(100 * rank + k)
    return torch.randn(TOTAL, generator=generator, dtype=torch.float64) + 0.3


def _net() -> ReplayNet:
    return ReplayNet(SIZES, torch.zeros(TOTAL, dtype=torch.float64))


def _one_minus_cosine(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Per module, from the two half-batch means, flat."""
    pairs = zip(first.split(list(SIZES.values())), second.split(list(SIZES.values())))
    return torch.stack([1 - torch.dot(a, b) / (a.norm() * b.norm()) for a, b in pairs])


def _measure(rank: int, views: bool) -> list:
    model = DistributedDataParallel(_net(), gradient_as_bucket_view=views)
    communicator = ProcessGroupCommunicator(dist.group.WORLD, halves=True)
    collector = build_collector('half_split', partition_parameters(model.module), communicator)
    assert isinstance(collector, HalfSplitRanks)
    results = []
    for update in range(2):
        with collector.around_backward(0, 1, images=1):
            sum(model([_gradient(rank, 10 * update)], mode='loss').values()).backward()
        results.append((collector.estimate().phi, collector.gradients()))
        for parameter in model.parameters():
            parameter.grad = None
    return results


def _measure_no_sync(rank: int, count: int) -> torch.Tensor:
    model = DistributedDataParallel(_net())
    communicator = ProcessGroupCommunicator(dist.group.WORLD, halves=True)
    collector = HalfSplitRanks(partition_parameters(model.module), communicator)
    for k in range(count):
        with collector.around_backward(k, count, images=1):
            if k + 1 < count:
                with model.no_sync():
                    (sum(model([_gradient(rank, k)], mode='loss').values()) / count).backward()
            else:
                (sum(model([_gradient(rank, k)], mode='loss').values()) / count).backward()
    return collector.estimate().phi


@pytest.mark.parametrize(('size', 'views'), [(2, False), (3, True), (4, False), (5, False)])
def test_cosine_of_half_means_over_ranks(size, views):
    results = run_ranks(_measure, size, views)
    half = size // 2
    for update in range(2):
        gradients = torch.stack([_gradient(r, 10 * update) for r in range(size)])
        expected = _one_minus_cosine(gradients[:half].mean(0), gradients[half:].mean(0))
        for result in results:
            phi, mean = result[update]
            torch.testing.assert_close(phi, expected, rtol=1e-12, atol=1e-13)
            torch.testing.assert_close(torch.cat(mean), gradients.mean(0), rtol=1e-14, atol=1e-15)


def test_each_side_is_the_mean_over_its_micro_batches():
    results = run_ranks(_measure_no_sync, 3, 2)
    means = torch.stack(
        [torch.stack([_gradient(r, k) for k in range(2)]).mean(0) for r in range(3)]
    )
    expected = _one_minus_cosine(means[0], means[1:].mean(0))
    for phi in results:
        torch.testing.assert_close(phi, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize('count', [2, 3, 5])
def test_one_process_splits_its_micro_batches(count):
    model = _net()
    collector = build_collector('half_split', partition_parameters(model), SingleProcess())
    assert isinstance(collector, HalfSplitMicroBatches)
    gradients = torch.stack([_gradient(0, k) for k in range(count)])
    for k in range(count):
        with collector.around_backward(k, count, images=2):
            (sum(model([gradients[k]], mode='loss').values()) / count).backward()
    estimate = collector.estimate()
    half = count // 2
    expected = _one_minus_cosine(gradients[:half].mean(0), gradients[half:].mean(0))
    torch.testing.assert_close(estimate.phi, expected, rtol=1e-12, atol=1e-13)
    # 4 / b = 1 / b_a + 1 / b_b, for halves of unequal size too
    images = 4 / (1 / (2 * half) + 1 / (2 * (count - half)))
    assert (estimate.samples, estimate.images) == (count, pytest.approx(images, rel=1e-14))


def test_a_half_without_gradient_has_no_cosine():
    model = _net()
    collector = HalfSplitMicroBatches(partition_parameters(model), SingleProcess())
    for k in range(2):
        with collector.around_backward(k, 2, images=1):
            losses = model([_gradient(0, k)], mode='loss')
            if k == 0:
                losses.pop('loss_neck')
            (sum(losses.values()) / 2).backward()
    estimate = collector.estimate()
    assert estimate.valid.tolist() == [True, False] and estimate.finite


def test_an_unknown_estimator_is_refused():
    with pytest.raises(ValueError, match="'thirds'; known are all_pairs, half_split"):
        build_collector('thirds', partition_parameters(_net()), SingleProcess())


class _Optional(torch.nn.Module):
    """Two vectors; the second is used only where it is given a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = torch.nn.Linear(3, 1, bias=False, dtype=torch.float64)
        self.neck = torch.nn.Linear(3, 1, bias=False, dtype=torch.float64)

    def forward(self, first: torch.Tensor, second: torch.Tensor | None) -> torch.Tensor:
        loss = self.backbone(first).sum()
        return loss if second is None else loss + self.neck(second).sum()


def _pair(rank: int, k: int) -> tuple[torch.Tensor, torch.Tensor | None]:
    generator = torch.Generator().manual_seed(10 * rank + k)
    first, second = torch.randn(2, 3, generator=generator, dtype=torch.float64) + 1
    return first, None if (rank, k) == (0, 1) else second


def _measure_partly_used(rank: int) -> torch.Tensor:
    model = DistributedDataParallel(_Optional(), find_unused_parameters=True)
    communicator = ProcessGroupCommunicator(dist.group.WORLD, halves=True)
    collector = HalfSplitRanks(partition_parameters(model.module), communicator)
    with collector.around_backward(0, 2, images=1), model.no_sync():
        (model(*_pair(rank, 0)) / 2).backward()
    with collector.around_backward(1, 2, images=1):
        (model(*_pair(rank, 1)) / 2).backward()
    return collector.estimate().phi


def test_a_module_that_the_last_micro_batch_does_not_use_counts() -> None:
    """Rank 0 gives the neck a gradient in its first micro-batch alone."""
    zero = torch.zeros(3, dtype=torch.float64)
    means = []
    for rank in range(2):
        parts = [_pair(rank, k) for k in range(2)]
        backbone = sum(first for first, _ in parts) / 2
        neck = sum(zero if second is None else second for _, second in parts) / 2
        means.append((backbone, neck))
    expected = [1 - torch.dot(a, b) / (a.norm() * b.norm()) for a, b in zip(*means)]
    for phi in run_ranks(_measure_partly_used, 2):
        assert torch.allclose(phi, torch.stack(expected), atol=1e-12, rtol=0)
