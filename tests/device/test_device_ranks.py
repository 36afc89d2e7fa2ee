"""Two ranks under DistributedDataParallel, with different data, on one device."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mmengine.model import BaseModel, MMDistributedDataParallel
from ranks import run_ranks
from torch import Tensor, nn
from training import ADAMW, EVERY_OTHER, SGD, agvm_state, amp_on, batch, prepared, weights
from waits import host_waits

METHODS: dict[str, dict[str, Any]] = {
    'all_pairs': dict(agvm=EVERY_OTHER),
    'half_split': dict(agvm=dict(estimator='half_split', **EVERY_OTHER)),
    'kfac': dict(agvm=None, kfac=dict(statistics_interval=1, inverse_interval=2, kl_clip=1e-3)),
    'kfac half': dict(agvm=None, kfac=dict(statistics_interval=1, inverse_interval=2, half=True)),
    'in the geometry of kfac': dict(
        agvm=dict(estimator='half_split', precondition='kfac', **EVERY_OTHER),
        kfac=dict(statistics_interval=1, inverse_interval=1, damping=0.1),
    ),
}


def on_device(device: str) -> dict[str, Any]:
    """How ranks of :func:`run_ranks` use the device."""
    if device == 'cuda':
        return dict(start='forkserver')
    return dict(backend='simulated_gloo')


def _train(rank: int, device: str, config: dict[str, Any], updates: int = 4) -> dict[str, Any]:
    wrapped, wrapper = prepared(device, config, wrap=MMDistributedDataParallel)
    found = []
    for step in range(updates):
        data = batch(step, rank=rank)
        with wrapper.optim_context(wrapped):
            losses = wrapped(**wrapped.module.data_preprocessor(data, True), mode='loss')
            with host_waits(device) as waits:
                wrapper.update_params(losses['loss'])
        found.append([wait for wait in waits if 'agvm_mm' in wait])
    state = {} if config['agvm'] is None else agvm_state(wrapper)
    return dict(weights=weights(wrapped), state=state, waits=found)


@pytest.mark.parametrize('name', METHODS)
def test_ranks_on_the_device_equal_ranks_on_the_cpu(device: str, name: str) -> None:
    config = dict(type='AGVMOptimWrapper', optimizer=SGD, **METHODS[name])
    cpu = run_ranks(_train, 2, 'cpu', config)
    there = run_ranks(_train, 2, device, config, **on_device(device))
    assert torch.equal(there[0]['weights'], there[1]['weights'])
    assert there[0]['state'] == there[1]['state']
    torch.testing.assert_close(there[0]['weights'], cpu[0]['weights'], rtol=1e-4, atol=1e-4)


def test_waits_of_a_rank(device: str) -> None:
    config = dict(
        type='AGVMOptimWrapper', optimizer=ADAMW, agvm=dict(precondition=True, **EVERY_OTHER),
        clip_grad=dict(type='agc'),
    )  # fmt: skip
    for found in run_ranks(_train, 2, device, config, **on_device(device)):
        assert [len(waits) for waits in found['waits']] == [1, 0, 1, 0], found['waits']


class SyncNet(BaseModel):
    """A norm over ranks whose rank 1 may have no region to look at."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Conv2d(3, 4, 3)
        self.region = nn.Conv2d(4, 4, 1)
        self.norm = nn.SyncBatchNorm(4)
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        features = self.backbone(inputs)
        regions = self.region(features if data_samples[0] else features[:0])
        return dict(loss=self.head(self.norm(regions)).square().sum() / 1e3 + features.mean())


def _sync(rank: int, device: str, kfac: dict[str, Any] | None) -> Tensor:
    config = dict(type='AGVMOptimWrapper', optimizer=SGD, agvm=EVERY_OTHER, kfac=kfac)
    model, wrapper = prepared(device, config, net=SyncNet(), wrap=MMDistributedDataParallel)
    for step in range(4):
        data = {**batch(step, rank=rank), 'data_samples': [step % 2 == 1 or rank == 0] * 4}
        model.train_step(data, wrapper)
    return weights(model)


@pytest.mark.parametrize('kfac', [None, dict(statistics_interval=1, inverse_interval=1)])
def test_a_norm_over_ranks_one_of_which_is_empty(device: str, kfac: dict[str, Any] | None) -> None:
    first, second = run_ranks(_sync, 2, device, kfac, **on_device(device))
    assert bool(first.isfinite().all())
    assert torch.equal(first, second)


def _overflow(rank: int, device: str) -> dict[str, Any]:
    config = dict(
        type='AGVMAmpOptimWrapper', optimizer=SGD, loss_scale=dict(init_scale=2.0**16),
        agvm=dict(interval=1, momentum=0.5),
        kfac=dict(statistics_interval=1, inverse_interval=1, damping=0.1),
    )  # fmt: skip
    model, wrapper = prepared(device, config, wrap=MMDistributedDataParallel)
    with amp_on(device):
        for step in range(4):
            data = batch(step, rank=rank)
            if (step, rank) == (2, 1):
                data['inputs'] *= float('inf')
            model.train_step(data, wrapper)
    state = wrapper.state_dict()
    estimates = state['agvm']['modules']['head']['estimates']
    return dict(
        weights=weights(model),
        counts=(state['agvm']['skipped'], state['kfac']['skipped'], estimates),
        scale=wrapper.loss_scaler.get_scale(),
    )


def test_an_overflow_on_one_rank_skips_the_update_on_all(device: str) -> None:
    first, second = run_ranks(_overflow, 2, device, **on_device(device))
    assert torch.equal(first['weights'], second['weights'])
    assert first['counts'] == second['counts'] == (1, 1, 3)
    assert first['scale'] == second['scale'] == 2.0**15
