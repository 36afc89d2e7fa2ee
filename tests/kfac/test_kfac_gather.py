"""Which rank holds the factors of a checkpoint, for how long, and when they are sent."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from kfac_nets import MixedNet, mixed_batch
from mmengine.model import MMDistributedDataParallel
from ranks import run_ranks

from agvm_mm.distributed import ProcessGroupCommunicator
from agvm_mm.hooks import KFACStateHook
from agvm_mm.parts import KFACPart
from agvm_mm.wrappers import AGVMOptimWrapper


def _trained(rank: int) -> AGVMOptimWrapper:
    torch.manual_seed(0)
    network = MixedNet().train()
    model = MMDistributedDataParallel(network)
    kfac = dict(statistics_interval=1, inverse_interval=1, damping=0.1)
    wrapper = AGVMOptimWrapper(torch.optim.SGD(network.parameters(), lr=0.1), agvm=None, kfac=kfac)
    wrapper.initialize_count_status(model, 0, 1)
    model.train_step(mixed_batch(0, range(4 * rank, 4 * rank + 4), torch.float32), wrapper)
    return wrapper


def _holds_factors(wrapper: AGVMOptimWrapper) -> bool:
    return all('factors' in one for one in wrapper.state_dict()['kfac']['layers'].values())


def _save(rank: int) -> list[bool]:
    wrapper, found = _trained(rank), []

    def save_checkpoint(out_dir: str, save_optimizer: bool = True) -> None:
        found.append(_holds_factors(wrapper))

    runner: Any = SimpleNamespace(optim_wrapper=wrapper, save_checkpoint=save_checkpoint)
    KFACStateHook().before_train(runner)
    runner.save_checkpoint('somewhere')
    runner.save_checkpoint('somewhere', save_optimizer=False)
    return [*found, _holds_factors(wrapper)]


def test_rank_0_holds_all_factors_while_a_checkpoint_is_written() -> None:
    assert run_ranks(_save, 2) == [[True, False, False], [False, False, False]]


def _sends_early(rank: int, backend: str) -> tuple[bool, bool]:
    config = dist.distributed_c10d
    real, config.get_backend_config = config.get_backend_config, lambda group: backend
    try:
        concurrent = ProcessGroupCommunicator(dist.group.WORLD).concurrent
    finally:
        config.get_backend_config = real
    kfac = _trained(rank).part(KFACPart).preconditioner
    kfac.communicator.concurrent = concurrent
    return concurrent, kfac.overlaps


@pytest.mark.parametrize(('backend', 'early'), [('gloo', True), ('cpu:gloo,cuda:nccl', False)])
def test_nccl_sends_after_the_backward_pass(backend: str, early: bool) -> None:
    assert run_ranks(_sends_early, 2, backend) == [(early, early)] * 2
