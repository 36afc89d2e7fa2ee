"""Moments from hooks against gradients gathered from real ranks with different data."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
from networks import ReplayNet
from ranks import run_ranks
from torch.nn.parallel import DistributedDataParallel

from agvm_mm.distributed import ProcessGroupCommunicator, SingleProcess
from agvm_mm.gradients import AllPairs
from agvm_mm.statistics import moment_estimate, partition_parameters

SIZES = dict(backbone=40, neck=24, rpn_head=10)


def _net(dtype: torch.dtype = torch.float64) -> ReplayNet:
    return ReplayNet(SIZES, torch.zeros(sum(SIZES.values()), dtype=dtype))


def _gradient(*seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(hash(seed) % 2**31)
    return torch.randn(sum(SIZES.values()), generator=generator, dtype=dtype) + 0.5


def _backward(model, gradient: torch.Tensor, count: int) -> None:
    losses = model([gradient], mode='loss')
    (sum(losses.values()) / count).backward()


def _expected(gradients: torch.Tensor):
    """The estimate from all gradients (N, D) in one place."""
    parts = gradients.split(list(SIZES.values()), dim=1)
    a = torch.stack([p.square().sum(1).mean() for p in parts])
    b = torch.stack([p.mean(0).square().sum() for p in parts])
    return moment_estimate(a, b, len(gradients))


def _measure(rank: int, count: int) -> tuple:
    model = DistributedDataParallel(_net())
    collector = AllPairs(
        partition_parameters(model.module), ProcessGroupCommunicator(dist.group.WORLD)
    )
    gradients = [_gradient(rank, k) for k in range(count)]
    for index, gradient in enumerate(gradients):
        with collector.around_backward(index, count, images=3):
            if index + 1 < count:
                with model.no_sync():
                    _backward(model, gradient, count)
            else:
                _backward(model, gradient, count)
    estimate = collector.estimate()
    return estimate.numerator, estimate.denominator, estimate.samples, estimate.images


@pytest.mark.parametrize(('size', 'count'), [(2, 1), (3, 1), (2, 3)])
def test_moments_equal_those_of_gathered_gradients(size, count):
    results = run_ranks(_measure, size, count)
    expected = _expected(torch.stack([_gradient(r, k) for r in range(size) for k in range(count)]))
    for numerator, denominator, samples, images in results:
        torch.testing.assert_close(numerator, expected.numerator, rtol=1e-12, atol=0)
        torch.testing.assert_close(denominator, expected.denominator, rtol=1e-12, atol=0)
        assert (samples, images) == (size * count, size * count * 3)


def test_one_process_with_micro_batches_equals_ranks():
    model = _net()
    collector = AllPairs(partition_parameters(model), SingleProcess())
    for k in range(5):
        with collector.around_backward(k, 5, images=1):
            _backward(model, _gradient(k), 5)
    estimate = collector.estimate()
    expected = _expected(torch.stack([_gradient(k) for k in range(5)]))
    torch.testing.assert_close(estimate.phi, expected.phi, rtol=1e-12, atol=0)


@pytest.mark.parametrize('ranks', [1, 2, 3, 200])
def test_each_mean_gradient_is_measured_by_one_rank(ranks):
    """Equal shares of the numbers; past one parameter a rank, some ranks have none."""
    partition = partition_parameters(_net())
    shares = []
    for rank in range(ranks):
        communicator = SingleProcess()
        communicator.size, communicator.rank = ranks, rank
        shares.append(AllPairs(partition, communicator)._mine)
    assert torch.tensor(shares).sum(0).tolist() == [1] * len(partition.parameters)
    sizes = torch.tensor([p.numel() for p in partition.parameters])
    held = torch.tensor(shares).long() @ sizes
    assert held.max() - held.min() <= 2 * sizes.max()


def _count_collectives(rank: int) -> tuple[int, int]:
    model = DistributedDataParallel(_net())
    communicator = ProcessGroupCommunicator(dist.group.WORLD)
    sent: list[int] = []
    plain = communicator.all_reduce_sum
    communicator.all_reduce_sum = lambda t: (sent.append(t.numel() * t.element_size()), plain(t))[1]
    collector = AllPairs(partition_parameters(model.module), communicator)
    with collector.around_backward(0, 1, images=1):
        _backward(model, _gradient(rank), 1)
    collector.estimate()
    return len(sent), sent[0]


def test_one_collective_of_sixteen_bytes_a_module_and_two_counts():
    assert run_ranks(_count_collectives, 2) == [(1, 16 * (len(SIZES) + 1))] * 2


def test_float32_gradients_are_measured_to_float32():
    model = _net(torch.float32)
    collector = AllPairs(partition_parameters(model), SingleProcess())
    gradients = torch.stack([_gradient(k, dtype=torch.float32) for k in range(4)])
    for k, gradient in enumerate(gradients):
        with collector.around_backward(k, 4, images=1):
            _backward(model, gradient, 4)
    torch.testing.assert_close(
        collector.estimate().phi, _expected(gradients.double()).phi, rtol=1e-5, atol=0
    )


def test_the_loss_scale_of_mixed_precision_drops_out():
    found = []
    for scale in (1.0, 65536.0):
        model = _net()
        collector = AllPairs(partition_parameters(model), SingleProcess())
        for k in range(2):
            with collector.around_backward(k, 2, images=1):
                _backward(model, scale * _gradient(k), 2)
        found.append(collector.estimate(lambda scale=scale: scale))
    assert torch.equal(found[0].numerator, found[1].numerator)
    assert torch.equal(found[0].denominator, found[1].denominator)


def test_a_parameter_without_gradient_counts_as_zero():
    model = _net()
    collector = AllPairs(partition_parameters(model), SingleProcess())
    for k in range(2):
        with collector.around_backward(k, 2, images=1):
            losses = model([_gradient(k)], mode='loss')
            losses.pop('loss_neck')
            (sum(losses.values()) / 2).backward()
    estimate = collector.estimate()
    assert estimate.valid.tolist() == [True, False, True] and estimate.finite


def test_an_update_that_began_before_a_resume_gives_no_estimate():
    model = _net()
    collector = AllPairs(partition_parameters(model), SingleProcess())
    with collector.around_backward(0, 3, images=1):
        _backward(model, _gradient(0), 3)
    assert collector.estimate() is None
    assert collector.estimate() is None


def test_hooks_are_gone_after_the_pass_also_when_it_raises():
    model = _net()
    collector = AllPairs(partition_parameters(model), SingleProcess())
    with pytest.raises(RuntimeError, match='stop'), collector.around_backward(0, 2, images=1):
        raise RuntimeError('stop')
    assert not any(p._backward_hooks for p in model.parameters())


def test_a_gradient_in_two_parts_is_refused_by_name():
    """Re-entrant checkpointing of a layer used twice accumulates twice in one backward pass."""
    from torch.utils.checkpoint import checkpoint

    layer = torch.nn.Linear(4, 4)
    model = torch.nn.Sequential(layer)
    collector = AllPairs(partition_parameters(model), SingleProcess())
    x = torch.randn(2, 4, requires_grad=True)
    y = checkpoint(layer, checkpoint(layer, x, use_reentrant=True), use_reentrant=True)
    sentence = r"'0\.(weight|bias)' received its gradient in two parts within one backward pass"
    with pytest.raises(RuntimeError, match=sentence), collector.around_backward(0, 2, images=1):
        y.sum().backward()


def test_non_reentrant_checkpointing_of_a_shared_layer_is_exact():
    from torch.utils.checkpoint import checkpoint

    layer = torch.nn.Linear(4, 4).double()
    model = torch.nn.Sequential(layer)
    collector = AllPairs(partition_parameters(model), SingleProcess())
    gradients = []
    for k in range(2):
        x = torch.randn(2, 4, generator=torch.Generator().manual_seed(k)).double()
        y = checkpoint(layer, checkpoint(layer, x, use_reentrant=False), use_reentrant=False)
        gradients.append(
            torch.cat(
                [
                    g.reshape(-1)
                    for g in torch.autograd.grad(
                        y.square().sum(), list(model.parameters()), retain_graph=True
                    )
                ]
            )
        )
        with collector.around_backward(k, 2, images=1):
            (y.square().sum() / 2).backward()
    g = torch.stack(gradients)
    a, b = g.square().sum(1).mean().reshape(1), g.mean(0).square().sum().reshape(1)
    torch.testing.assert_close(
        collector.estimate().phi.sum(), moment_estimate(a, b, 2).phi.sum(), rtol=1e-10, atol=0
    )
