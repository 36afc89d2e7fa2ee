"""One rank of hundreds or thousands, whose collectives return at once: structure, not speed."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest
import torch
import torch._dynamo  # noqa: F401  for DistributedDataParallel, before memory is counted
import torch.distributed as dist
from mmengine.model import BaseModel, MMDistributedDataParallel
from mmengine.optim import build_optim_wrapper
from torch import Tensor, nn
from torch_versions import since_2_2

import agvm_mm  # noqa: F401
from agvm_mm.parts import AGVMPart, KFACPart

fake = pytest.importorskip('torch.testing._internal.distributed.fake_pg')

RANKS = [(768, 0), (768, 500), (768, 767), (4096, 0), (4096, 500), (4096, 4095)]
KFAC = dict(statistics_interval=1, inverse_interval=1)
METHODS: dict[str, tuple[dict[str, Any], int]] = {
    'all_pairs': (dict(agvm=dict(interval=1)), 1),
    'half_split': (dict(agvm=dict(interval=1, estimator='half_split')), 2),  # the first half's
    'kfac': (dict(agvm=None, kfac=KFAC, clip_grad=dict(type='agc')), 2),  # one of its own
}
BYTES_A_RANK = 200
"""Of Python, for every rank of a group of one's own: its number in torch's lists and dicts."""


class Net(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.ReLU())
        self.head = nn.Linear(4, 2)

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        return dict(loss=self.head(self.backbone(inputs).mean((2, 3))).square().mean())


@contextmanager
def rank_of_many(rank: int, size: int) -> Iterator[None]:
    dist.init_process_group('fake', store=fake.FakeStore(), rank=rank, world_size=size)
    try:
        yield
    finally:
        dist.destroy_process_group()


def _sum_alone(state, bucket):  # DistributedDataParallel looks at annotations
    """A communication hook: the group's own all-reduce hands DistributedDataParallel nothing."""
    future: Any = torch.futures.Future()
    future.set_result(bucket.buffer())
    return future


def _train(config: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    model = MMDistributedDataParallel(Net())
    model.register_comm_hook(None, _sum_alone)
    wrapper = build_optim_wrapper(
        model,
        dict(
            type='AGVMOptimWrapper',
            optimizer=dict(type='SGD', lr=0.05),
            accumulative_counts=2,
            **config,
        ),
    )
    wrapper.initialize_count_status(model, 0, 4)
    for step in range(4):
        generator = torch.Generator().manual_seed(step)
        model.train_step(dict(inputs=torch.randn(2, 3, 8, 8, generator=generator)), wrapper)
    return wrapper


@cache
def import_all() -> None:
    """What the first training imports is not memory of ranks."""
    with rank_of_many(0, 2):
        _train({})


@since_2_2  # whose fake group knows the CPU
@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize(('size', 'rank'), RANKS)
def test_binding_and_two_updates(size: int, rank: int, method: str) -> None:
    import_all()
    config, groups = METHODS[method]
    with rank_of_many(rank, size):
        before = dist.get_pg_count()
        tracemalloc.start()
        try:
            wrapper = _train(config)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert dist.get_pg_count() - before <= groups - 1
        assert peak < 2**18 + BYTES_A_RANK * (groups - 1) * size
        assert wrapper.updates == 2
        agvm, kfac = wrapper.part(AGVMPart), wrapper.part(KFACPart)
        if agvm is not None:
            assert agvm.collector.communicator.size == size
            assert agvm.state_dict()['modules']['head']['estimates'] in (0, 2)
        if kfac is not None:
            owned = [layer.name for layer in kfac.preconditioner.layers if layer.owned]
            assert len(owned) <= 1 and bool(owned) == (rank < 3)
