"""Set-ups that cannot work stop at the start with one sentence that says why and where."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch._dynamo  # what DistributedDataParallel imports, before the ranks are forked
from mmengine.model import MMDistributedDataParallel, MMSeparateDistributedDataParallel
from mmengine.optim import OptimWrapperDict, build_optim_wrapper
from networks import ReplayNet
from ranks import run_ranks
from torch import nn
from torch.distributed.optim import ZeroRedundancyOptimizer

from agvm_mm import AGVMOptimWrapper

SIZES = dict(backbone=4, neck=4)


def _net() -> ReplayNet:
    return ReplayNet(SIZES, torch.zeros(8))


def _refusal(model: nn.Module, optimizer: Any = None, counts: int = 2, **agvm: Any) -> str:
    """What binding to ``model`` says."""
    if optimizer is None:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wrapper = AGVMOptimWrapper(optimizer, accumulative_counts=counts, agvm=agvm)
    with pytest.raises(ValueError) as caught:
        wrapper.initialize_count_status(model, 0, 10)
    sentence = str(caught.value)
    assert '\n' not in sentence
    return sentence


def _on_ranks(rank: int, kind: str) -> str:
    if kind == 'fsdp':
        from torch.distributed.fsdp import FullyShardedDataParallel

        return _refusal(FullyShardedDataParallel(_net(), device_id=torch.device('cpu')))
    if kind == 'fully_shard':
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        net = _net()
        fully_shard(net, mesh=init_device_mesh('cpu', (2,)))
        return _refusal_bare(net)
    if kind == 'separate':
        return _refusal(MMSeparateDistributedDataParallel(_net(), broadcast_buffers=False))
    if kind == 'bare':
        return _refusal(_net())
    model = MMDistributedDataParallel(_net())
    return _refusal(model, ZeroRedundancyOptimizer(model.parameters(), torch.optim.SGD, lr=0.1))


def _refusal_bare(net: nn.Module) -> str:
    """Alone in its process group of ranks, so that the parameters are what is refused."""
    import torch.distributed as dist

    world = dist.get_world_size
    dist.get_world_size = lambda *args, **kwargs: 1
    try:
        return _refusal(net)
    finally:
        dist.get_world_size = world


@pytest.mark.parametrize(
    ('kind', 'sentence'),
    [
        ('fsdp', 'wrapped in FullyShardedDataParallel, which leaves every rank a shard'),
        ('fully_shard', "the parameter 'backbone.weight' is a DTensor"),
        ('separate', 'wrapped in MMSeparateDistributedDataParallel'),
        ('bare', '2 processes train this model and it is in no data-parallel wrapper'),
        ('zero', 'type is ZeroRedundancyOptimizer, which keeps its own copy'),
    ],
)
def test_on_two_ranks(kind, sentence):
    for found in run_ranks(_on_ranks, 2, kind):
        assert sentence in found


def test_data_parallel_of_one_process():
    assert 'wrapped in DataParallel, which adds up' in _refusal(nn.DataParallel(_net()))


def test_sparse_embeddings():
    net = _net()
    net.neck = nn.Embedding(4, 2, sparse=True)
    assert "'neck' is an embedding with sparse gradients" in _refusal(net)


def test_lookahead_and_sam():
    library = pytest.importorskip('pytorch_optimizer', reason='Lookahead comes from it')
    net = _net()
    inner = torch.optim.SGD(net.parameters(), lr=0.1)
    found = _refusal(net, library.Lookahead(inner))
    assert 'type is Lookahead, which wraps another optimizer' in found


def test_several_optimizers():
    net = _net()
    members = {
        name: AGVMOptimWrapper(
            torch.optim.SGD(getattr(net, name).parameters(), lr=0.1),
            accumulative_counts=2,
            agvm=dict(anchor=name),
        )
        for name in SIZES
    }
    wrappers = OptimWrapperDict(**members)
    refusal = pytest.raises(ValueError, match='AGVM needs one optimizer for the whole model')
    with refusal, wrappers['backbone'].optim_context(net):
        pass


def test_deepspeed_engines():
    net = _net()
    wrapper = AGVMOptimWrapper(torch.optim.SGD(net.parameters(), lr=0.1), accumulative_counts=2)
    with pytest.raises(ValueError, match='strategy.type is DeepSpeedStrategy'):
        wrapper.model = object()


def test_the_wrapper_is_built_from_the_public_config_too():
    with pytest.raises(ValueError, match=r'agvm\.anchor is 3; allowed is the name of a module'):
        build_optim_wrapper(
            _net(),
            dict(type='AGVMOptimWrapper', optimizer=dict(type='SGD', lr=0.1), agvm=dict(anchor=3)),
        )
