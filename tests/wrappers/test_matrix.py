"""Optimizers x wrapper x constructor x estimator x accumulation, each with the same four claims.

On two gloo ranks with different data:
(a) measuring alone leaves the weights bitwise those of the plain wrapper;
(b) modulating changes them;
(c) scales are the same on all ranks;
(d) a run that is saved and resumed half-way ends bitwise as an uninterrupted one.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch._dynamo  # what DistributedDataParallel imports, before the ranks are forked
from cpu_amp import on_cpu
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import build_optim_wrapper
from ranks import run_ranks
from runs import ThreePartNet, data
from torch import Tensor

import agvm_mm  # noqa: F401
from agvm_mm.parts import AGVMPart

UPDATES = 4

OPTIMIZERS = {
    'SGD': dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=1e-2),
    'Adam': dict(type='Adam', lr=0.01, weight_decay=0.0),
    'AdamW': dict(type='AdamW', lr=0.01, weight_decay=0.05),
    'NAdam': dict(type='NAdam', lr=0.01, weight_decay=0.0),
    'RMSprop': dict(type='RMSprop', lr=0.01, momentum=0.5, weight_decay=0.0),
    'Adagrad': dict(type='Adagrad', lr=0.05, weight_decay=0.0),
    'LAMB': dict(type='LAMBOptimizer', lr=0.02, weight_decay=0.01),
    'Adan': dict(type='AdanOptimizer', lr=0.01, weight_decay=0.02),
    'LARS': dict(type='LARSOptimizer', lr=0.5, momentum=0.9, weight_decay=0.0),
}
PRECONDITIONED = {'Adam', 'AdamW', 'NAdam', 'RMSprop', 'Adagrad', 'LAMB', 'Adan'}

CONSTRUCTORS = {
    'plain groups': None,
    'paramwise': dict(
        norm_decay_mult=0.0, bias_decay_mult=0.0, custom_keys={'neck': dict(lr_mult=0.5)}
    ),
}


def _build(config: dict[str, Any]) -> tuple[Any, Any]:
    torch.manual_seed(0)
    model = MMDistributedDataParallel(ThreePartNet())
    with on_cpu(config['type']):
        wrapper = build_optim_wrapper(model, copy.deepcopy(config))
    return model, wrapper


def _train(model: Any, wrapper: Any, rank: int, start: int, stop: int, total: int) -> Tensor:
    wrapper.initialize_count_status(model, start, total)
    for step in range(start, stop):
        model.train_step(data(rank, step), wrapper)
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def _claims(rank: int, plain: dict[str, Any], modulated: dict[str, Any]) -> dict[str, Any]:
    steps = UPDATES * plain['accumulative_counts']
    measured = {**modulated, 'agvm': {**modulated['agvm'], 'apply': False}}
    reference = _train(*_build(plain), rank, 0, steps, steps)
    watched = _train(*_build(measured), rank, 0, steps, steps)
    model, wrapper = _build(modulated)
    whole = _train(model, wrapper, rank, 0, steps, steps)
    state = wrapper.part(AGVMPart).state_dict()

    first, half = _build(modulated)
    _train(first, half, rank, 0, steps // 2, steps)
    second, resumed = _build(modulated)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    resumed.load_state_dict(copy.deepcopy(half.state_dict()))
    continued = _train(second, resumed, rank, steps // 2, steps, steps)
    return dict(
        measured_is_plain=torch.equal(reference, watched),
        modulated_is_plain=torch.equal(reference, whole),
        resumed_is_whole=torch.equal(whole, continued)
        and resumed.part(AGVMPart).state_dict() == state,
        state=state,
        weights=whole,
    )


@pytest.mark.parametrize('counts', [1, 2], ids=['one pass', 'two passes'])
@pytest.mark.parametrize('estimator', ['all_pairs', 'half_split'])
@pytest.mark.parametrize(
    ('wrapper', 'constructor'),
    [('OptimWrapper', 'plain groups'), ('AmpOptimWrapper', 'paramwise')],
    ids=['fp32', 'bf16 paramwise'],
)
@pytest.mark.parametrize('optimizer', OPTIMIZERS)
def test_four_claims(optimizer, wrapper, constructor, estimator, counts):
    if optimizer in ('Adan', 'LARS'):
        pytest.importorskip('pytorch_optimizer', reason='Adan and LARS come from pytorch_optimizer')
    plain = dict(
        type=wrapper,
        optimizer=OPTIMIZERS[optimizer],
        accumulative_counts=counts,
        paramwise_cfg=CONSTRUCTORS[constructor],
    )
    if wrapper == 'AmpOptimWrapper':
        plain['dtype'] = 'bfloat16'
    agvm = dict(
        interval=1,
        begin=1,
        momentum=0.5,
        estimator=estimator,
        precondition=optimizer in PRECONDITIONED,
    )
    first, second = run_ranks(_claims, 2, plain, dict(plain, type=f'AGVM{wrapper}', agvm=agvm))
    assert first['measured_is_plain'] and second['measured_is_plain']
    scales = [module['scale'] for module in first['state']['modules'].values()]
    assert max(abs(scale - 1) for scale in scales) > 0.01, scales
    assert not first['modulated_is_plain']
    assert first['state'] == second['state']
    assert torch.equal(first['weights'], second['weights'])
    assert first['resumed_is_whole'] and second['resumed_is_whole']
