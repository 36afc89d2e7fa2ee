"""Ranks that share the matrices: the same weights as one process, the same bits on all ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch._dynamo  # noqa: F401  for DistributedDataParallel, before the ranks are forked
import torch.distributed as dist
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import build_optim_wrapper
from networks import detection_batch, tiny_retinanet
from ranks import run_ranks
from torch import Tensor, nn

import agvm_mm  # noqa: F401
from agvm_mm.optimizers import MuonOptimizer
from agvm_mm.optimizers.share import assign

pytest.importorskip('mmcv._ext', reason='mmdet needs the compiled ops of mmcv')

tiny_retinanet()  # imported and built before ranks are forked
STEPS, BATCHES = 4, 6


def test_work_is_balanced() -> None:
    costs = [1, 9, 2, 4, 4, 3, 1]
    owners = assign(costs, 3)
    loads = [sum(c for c, owner in zip(costs, owners) if owner == rank) for rank in range(3)]
    assert sorted(loads) == [7, 8, 9]
    assert assign(costs, 1) == [0] * 7 and assign([], 2) == []
    assert sorted(assign([5, 5], 4)) == [0, 1]


def _wrapper(model: nn.Module, kind: str = 'OptimWrapper', **options: Any) -> Any:
    optimizer = dict(type='MuonOptimizer', lr=2e-3, weight_decay=0.05, **options)
    config = dict(type=kind, constructor='MuonOptimWrapperConstructor', optimizer=optimizer)
    if kind != 'OptimWrapper':
        config.update(agvm=dict(interval=1, momentum=0.5))
    return build_optim_wrapper(model, config)


def _flat(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


class _Collectives:
    """Counts the calls that the optimizer makes."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        reduce = dist.all_reduce

        def counted(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
            self.sizes.append(tensor.numel())
            return reduce(tensor, *args, **kwargs)

        patch.setattr(dist, 'all_reduce', counted)


def _train(
    rank: int, ranks: int, steps: range, saved: Path | None, dtype: torch.dtype, **options: Any
) -> dict[str, Any]:
    """All ranks together see the same images in every update, whatever their number."""
    model = tiny_retinanet().to(dtype)
    parallel = MMDistributedDataParallel(model, broadcast_buffers=False) if ranks > 1 else model
    wrapper = _wrapper(parallel, **options)
    if saved is not None and saved.exists():
        state = torch.load(saved, weights_only=True)
        model.load_state_dict(state['model'])
        wrapper.load_state_dict(state['optimizer'])
    with pytest.MonkeyPatch.context() as patch:
        collectives = _Collectives(patch)
        for step in steps:
            _gradients(parallel, rank, ranks, step, dtype)
            wrapper.optimizer.step()
            wrapper.optimizer.zero_grad()
    if saved is not None and not saved.exists() and rank == 0:
        state = dict(model=model.state_dict(), optimizer=wrapper.state_dict())
        torch.save(state, saved)
    return dict(weights=_flat(model), collectives=collectives.sizes)


def _gradients(model: Any, rank: int, ranks: int, step: int, dtype: torch.dtype) -> None:
    mine = range(rank, BATCHES, ranks)
    losses: list[Tensor] = []
    network = getattr(model, 'module', model)
    for index in mine:
        data = detection_batch((step, index), count=1)
        data['inputs'] = [image.to(dtype) for image in data['inputs']]
        for sample in data['data_samples']:
            sample.gt_instances.bboxes = sample.gt_instances.bboxes.to(dtype)
            sample.ignored_instances.bboxes = sample.ignored_instances.bboxes.to(dtype)
        data = network.data_preprocessor(data, True)
        data['inputs'] = data['inputs'].to(dtype)
        losses.append(network.parse_losses(model(**data, mode='loss'))[0] / len(mine))
        if index != mine[-1]:
            with model.no_sync() if ranks > 1 else torch.enable_grad():
                losses.pop().backward()
    losses.pop().backward()


def _on_rank(rank: int, ranks: int, steps: range, saved: Path | None, **options: Any) -> dict:
    return _train(rank, ranks, steps, saved, torch.float64, **options)


def test_one_two_and_three_ranks_agree_and_one_collective_is_made() -> None:
    alone = _on_rank(0, 1, range(STEPS), None)
    start = _flat(tiny_retinanet().double())
    assert alone['collectives'] == [] and (alone['weights'] - start).abs().max() > 1e-3
    for ranks in (2, 3):
        found = run_ranks(_on_rank, ranks, ranks, range(STEPS), None)
        for one in found:
            assert torch.equal(one['weights'], found[0]['weights'])
            assert len(one['collectives']) == STEPS
        torch.testing.assert_close(found[0]['weights'], alone['weights'], rtol=0, atol=1e-6)


def _whole_on_rank(rank: int) -> dict[str, Any]:
    return _on_rank(rank, 2, range(STEPS), None, distributed=False)


def test_every_rank_can_make_the_whole_step() -> None:
    apart, shared = run_ranks(_whole_on_rank, 2), run_ranks(_on_rank, 2, 2, range(STEPS), None)
    assert all(one['collectives'] == [] for one in apart)
    assert torch.equal(apart[0]['weights'], apart[1]['weights'])
    torch.testing.assert_close(apart[0]['weights'], shared[0]['weights'], rtol=0, atol=1e-6)


@pytest.mark.parametrize(('before', 'after'), [(2, 1), (1, 2), (3, 2)])
def test_the_number_of_ranks_may_change(before: int, after: int, tmp_path: Path) -> None:
    """The checkpoint of rank 0 holds everything."""
    whole = _on_rank(0, 1, range(STEPS), None)['weights']
    saved = tmp_path / 'checkpoint.pth'
    for ranks, steps in ((before, range(2)), (after, range(2, STEPS))):
        if ranks == 1:
            found = [_on_rank(0, 1, steps, saved)]
        else:
            found = run_ranks(_on_rank, ranks, ranks, steps, saved)
    torch.testing.assert_close(found[0]['weights'], whole, rtol=0, atol=1e-6)


def _with_agvm(rank: int) -> dict[str, Any]:
    model = MMDistributedDataParallel(tiny_retinanet(), broadcast_buffers=False)
    wrapper = _wrapper(model, 'AGVMOptimWrapper')
    wrapper.initialize_count_status(model, 0, STEPS)
    for step in range(STEPS):
        model.train_step(detection_batch((rank, step)), wrapper)
    entries = wrapper.state_dict()['agvm']['modules']
    return dict(weights=_flat(model), scales=[entry['scale'] for entry in entries.values()])


def test_with_agvm_in_float32_the_ranks_hold_the_same_bits() -> None:
    first, second = run_ranks(_with_agvm, 2)
    assert torch.equal(first['weights'], second['weights']) and first['weights'].isfinite().all()
    assert max(abs(scale - 1) for scale in first['scales']) > 0.01


def _unused(rank: int) -> Tensor:
    """Matrices without a gradient, on all ranks or by another owner, have their place too."""
    torch.manual_seed(0)
    params = [nn.Parameter(torch.randn(4, 6)) for _ in range(5)]
    optimizer = MuonOptimizer([dict(params=params, use_muon=True)], lr=0.1)
    for step in range(3):
        for i, p in enumerate(params):
            p.grad = None if (i + step) % 3 == 0 else torch.full_like(p, 1.0 + i)
        optimizer.step()
    return torch.stack([p.detach() for p in params])


def test_matrices_without_a_gradient() -> None:
    alone = _unused(0)
    for found in run_ranks(_unused, 3):
        torch.testing.assert_close(found, alone, rtol=0, atol=1e-6)
