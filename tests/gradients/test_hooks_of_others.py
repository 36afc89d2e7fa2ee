"""Hooks that receive nothing, hooks that change the gradient later, passes that nobody counted."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import build_optim_wrapper
from networks import ReplayNet
from ranks import run_ranks
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import agvm_mm  # noqa: F401
from agvm_mm.distributed import ProcessGroupCommunicator, SingleProcess
from agvm_mm.gradients import AllPairs, HalfSplitMicroBatches, HalfSplitRanks
from agvm_mm.parts import AGVMPart
from agvm_mm.statistics import cosine_estimate, moment_estimate, partition_parameters


class _Undefined(torch.autograd.Function):
    """Scale by a weight; backward gives None for the weight where ``empty``.

    That is what SyncBatchNorm's backward returns for weight and bias on a rank whose input is
    empty. SyncBatchNorm itself needs a GPU.
    """

    @staticmethod
    def forward(ctx, x, weight, empty):
        ctx.save_for_backward(x, weight)
        ctx.empty = empty
        return x * weight

    @staticmethod
    def backward(ctx, gradient):
        x, weight = ctx.saved_tensors
        of_weight = None if ctx.empty else (gradient * x).sum(0)
        return gradient * weight, of_weight, None


class _Normalised(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Linear(3, 3, bias=False, dtype=torch.float64)
        self.neck = nn.Parameter(torch.ones(3, dtype=torch.float64))
        nn.init.eye_(self.backbone.weight)

    def forward(self, x, empty):
        return _Undefined.apply(self.backbone(x), self.neck, empty).sum()


def _inputs(rank: int, step: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(10 * rank + step)
    return 1 + torch.randn(2, 3, generator=generator, dtype=torch.float64)


def _one_rank_empty(rank: int, kind: type) -> list[torch.Tensor]:
    model = DistributedDataParallel(_Normalised())
    communicator = ProcessGroupCommunicator(dist.group.WORLD, halves=True)
    collector = kind(partition_parameters(model.module), communicator)
    found = []
    for step in range(2):
        model.zero_grad()
        with collector.around_backward(0, 1, images=2):
            model(_inputs(rank, step), rank == step).backward()
        found.append(collector.estimate().phi)
    return found


@pytest.mark.parametrize('kind', [AllPairs, HalfSplitRanks])
def test_a_gradient_that_is_none_on_one_rank_counts_as_zero(kind):
    """Rank 0 is empty in the first update, rank 1 in the second."""
    results = run_ranks(_one_rank_empty, 2, kind)
    for step in range(2):
        parts = []
        for rank in range(2):
            x = _inputs(rank, step)  # the backbone is the identity, the neck's scale is 1
            neck = torch.zeros(3).double() if rank == step else x.sum(0)
            parts.append([neck, x.sum(0).repeat(3)])  # a model's own parameters come first
        for module, (g, h) in enumerate(zip(*parts)):
            if kind is AllPairs:
                a, b = (g @ g + h @ h) / 2, ((g + h) / 2) @ ((g + h) / 2)
                expected = moment_estimate(a, b, 2).phi
            else:
                expected = cosine_estimate(g @ h, g @ g, h @ h, 2).phi
            for result in results:
                torch.testing.assert_close(
                    result[step][module], expected, rtol=1e-12, atol=0, equal_nan=True
                )


def _net() -> ReplayNet:
    return ReplayNet(dict(backbone=4, neck=3), torch.zeros(7, dtype=torch.float64))


def _backward(model: ReplayNet, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    sum(model([torch.randn(7, generator=generator, dtype=torch.float64)]).values()).backward()


@pytest.mark.parametrize('kind', [AllPairs, HalfSplitMicroBatches, HalfSplitRanks])
def test_a_hook_that_may_change_the_gradient_later_is_refused(kind):
    model = _net()
    collector = kind(partition_parameters(model), SingleProcess())
    handle = model.neck.weight.register_post_accumulate_grad_hook(lambda p: p.grad.mul_(0.5))
    sentence = "'neck.weight' has a hook of register_post_accumulate_grad_hook"
    with pytest.raises(RuntimeError, match=sentence), collector.around_backward(0, 2, images=1):
        _backward(model, 0)
    handle.remove()
    with collector.around_backward(0, 2, images=1):
        _backward(model, 0)


SENTENCE = 'already hold gradients before the first backward pass of an update'


@pytest.mark.parametrize('kind', [AllPairs, HalfSplitMicroBatches])
@pytest.mark.parametrize('seen', [0, 1, 2], ids=['by nobody', 'partly', 'whole update'])
def test_gradients_of_other_passes_are_refused(kind, seen):
    model = _net()
    collector = kind(partition_parameters(model), SingleProcess())
    for index in range(seen):
        with collector.around_backward(index, 2, images=1):
            _backward(model, index)
    if not seen:
        _backward(model, 0)
    with pytest.raises(RuntimeError, match=SENTENCE), collector.around_backward(0, 2, images=1):
        _backward(model, 3)


@pytest.mark.parametrize('to_none', [True, False])
def test_a_batch_that_is_thrown_away_is_forgotten(to_none):
    model = _net()
    collector = AllPairs(partition_parameters(model), SingleProcess())
    found = []
    for thrown_away in (0, 1, 2):
        model.zero_grad(set_to_none=True)
        for index in range(thrown_away):
            with collector.around_backward(index, 2, images=1):
                _backward(model, 10 + index)
        model.zero_grad(set_to_none=to_none)
        for index in range(2):
            with collector.around_backward(index, 2, images=1):
                _backward(model, index)
        found.append(collector.estimate().phi)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


def _by_hand(rank: int, counts: int) -> str:
    """Two passes and one step, as a loop does that accumulates by itself."""
    model = MMDistributedDataParallel(_net(), device_ids=None, broadcast_buffers=False)
    config = dict(
        type='AGVMOptimWrapper',
        optimizer=dict(type='SGD', lr=0.0),
        accumulative_counts=counts,
        agvm=dict(interval=1),
    )
    wrapper = build_optim_wrapper(model, config)
    wrapper.initialize_count_status(model, 0, 4)
    generator = torch.Generator().manual_seed(rank)
    for _ in range(2):
        gradients = torch.randn(2, 7, generator=generator, dtype=torch.float64)
        try:
            with model.no_sync():
                wrapper.backward(sum(model([gradients[0]], mode='loss').values()))
            wrapper.backward(sum(model([gradients[1]], mode='loss').values()))
        except RuntimeError as error:
            return str(error)
        wrapper.step()
        wrapper.zero_grad()
    return f'{int(wrapper.part(AGVMPart).state.estimates[0])} estimates'


def test_accumulation_by_hand_is_refused_on_every_rank_and_declared_it_is_measured():
    assert all(SENTENCE in answer for answer in run_ranks(_by_hand, 2, 1))
    assert run_ranks(_by_hand, 2, 2) == ['2 estimates'] * 2
