"""Five updates on the device equal those on the CPU, with every method and optimizer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from training import ADAMW, EVERY_OTHER, SGD, agvm_state, prepared, train, weights

AGVM = dict(type='AGVMOptimWrapper', accumulative_counts=2, agvm=EVERY_OTHER)
UPDATES = 5
METHODS: dict[str, dict[str, Any]] = {
    'half_split': dict(agvm=dict(estimator='half_split', **EVERY_OTHER)),
    'preconditioned': dict(agvm=dict(precondition=True, **EVERY_OTHER)),
    'agc': dict(clip_grad=dict(type='agc')),
    'clipping from update 1 on': dict(clip_grad=dict(max_norm=0.1, begin=1)),
    'groups': dict(paramwise_cfg=dict(norm_decay_mult=0.0, bias_lr_mult=2.0)),
}
KFAC: dict[str, dict[str, Any]] = {
    'cholesky': {},
    'eigen': dict(solver='eigen'),
    'float64': dict(precision='float64'),
    'half': dict(half=True),
    'diagonal': dict(max_size=20),
    'kl_clip': dict(kl_clip=1e-3),
    'rescaled': dict(rescale_weights=True),
    'stale': dict(stale_threshold=0.1),
    'sampled': dict(max_positions=4),
}
OPTIMIZERS: dict[str, dict[str, Any]] = {
    'SGD': SGD,
    'SGD one by one': {**SGD, 'foreach': False},
    'SGD fused': {**SGD, 'fused': True},
    'AdamW': ADAMW,
    'AdamW fused': {**ADAMW, 'fused': True},
    'AdamW capturable': {**ADAMW, 'capturable': True},
    'Adagrad': dict(type='Adagrad', lr=0.01),
    'RMSprop': dict(type='RMSprop', lr=0.001, centered=True),
    'NAdam': dict(type='NAdam', lr=0.01),
    'LARS': dict(type='LARSOptimizer', lr=0.1),
    'LAMB': dict(type='LAMBOptimizer', lr=0.01),
    'Adan': dict(type='AdanOptimizer', lr=0.01),
    'SOAP': dict(type='SOAPOptimizer', lr=0.01),
    'Muon': dict(type='MuonOptimizer', lr=0.01),
}


def equals_the_cpu(device: str, tolerance: float = 1e-4, **config: Any) -> Any:
    """The wrapper that has trained on the device."""
    found = {}
    for place in ('cpu', device):
        optimizer = dict(config['optimizer'])
        if place == 'cpu':
            optimizer.pop('capturable', None)
        model, wrapper = prepared(place, {**AGVM, **config, 'optimizer': optimizer})
        train(model, wrapper, range(2 * UPDATES))
        found[place] = weights(model)
        assert {p.device.type for p in model.parameters()} == {place}
    torch.testing.assert_close(found[device], found['cpu'], rtol=tolerance, atol=tolerance)
    assert wrapper.updates == UPDATES
    return wrapper


@pytest.mark.parametrize('name', METHODS)
def test_methods(device: str, name: str) -> None:
    wrapper = equals_the_cpu(device, optimizer=ADAMW, **METHODS[name])
    assert agvm_state(wrapper)['modules']['head']['estimates'] >= 2


@pytest.mark.parametrize('name', KFAC)
def test_kfac(device: str, name: str) -> None:
    kfac = dict(statistics_interval=1, inverse_interval=2, damping=0.1, **KFAC[name])
    equals_the_cpu(device, optimizer=SGD, kfac=kfac)


def test_agvm_in_the_geometry_of_kfac(device: str) -> None:
    agvm = dict(estimator='half_split', precondition='kfac', **EVERY_OTHER)
    kfac = dict(statistics_interval=1, inverse_interval=1, damping=0.1)
    equals_the_cpu(device, optimizer=SGD, agvm=agvm, kfac=kfac)


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_optimizers(device: str, name: str) -> None:
    constructor = dict(constructor='MuonOptimWrapperConstructor') if name == 'Muon' else {}
    # Muon's iteration in bfloat16 rounds otherwise on a GPU.
    tolerance = 1e-2 if name == 'Muon' else 1e-4
    equals_the_cpu(device, tolerance, optimizer=OPTIMIZERS[name], **constructor)


def test_a_learning_rate_on_the_device(device: str) -> None:
    capturable = {**ADAMW, 'capturable': True}
    equals_the_cpu(device, optimizer=capturable, rate_on_device=0.01)


def test_channels_last(device: str) -> None:
    plain, wrapper = prepared(device, {**AGVM, 'optimizer': SGD})
    train(plain, wrapper, range(4))
    last, wrapper = prepared(device, {**AGVM, 'optimizer': SGD})
    last.to(memory_format=torch.channels_last)
    train(last, wrapper, range(4))
    torch.testing.assert_close(weights(last), weights(plain), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('estimator', ['all_pairs', 'half_split'])
def test_mixed_precision_with_its_scaler(device: str, estimator: str) -> None:
    """A loss scale of 2^8 or 2^16 changes no bit, and an overflow skips the estimate."""
    found = []
    for scale in (2.0**8, 2.0**16):
        config = dict(
            type='AGVMAmpOptimWrapper', optimizer=SGD, accumulative_counts=2,
            loss_scale=dict(init_scale=scale), dtype='bfloat16', clip_grad=dict(type='agc'),
            agvm=dict(estimator=estimator, **EVERY_OTHER),
        )  # fmt: skip
        model, wrapper = prepared(device, config)
        train(model, wrapper, range(8))
        assert wrapper.loss_scaler.get_scale() == scale
        found.append((weights(model), agvm_state(wrapper)))
    (small, state), (large, other) = found
    assert torch.equal(small, large) and state == other
    assert state['modules']['head']['estimates'] == 2


def test_an_overflow_changes_neither_scales_nor_factors_nor_weights(device: str) -> None:
    config = dict(
        type='AGVMAmpOptimWrapper', optimizer=SGD, accumulative_counts=2,
        loss_scale=dict(init_scale=2.0**16), agvm=dict(interval=1, momentum=0.5),
        kfac=dict(statistics_interval=1, inverse_interval=1, damping=0.1),
    )  # fmt: skip
    model, wrapper = prepared(device, config)
    train(model, wrapper, range(4))
    before = weights(model), agvm_state(wrapper)['modules']
    factors = [
        f for layer in wrapper.state_dict()['kfac']['layers'].values() for f in [layer['factors']]
    ]
    model.register_forward_hook(lambda *_: dict(loss=_[-1]['loss'] * float('inf')))
    train(model, wrapper, range(4, 6))
    assert torch.equal(weights(model), before[0])
    state = wrapper.state_dict()
    assert state['agvm']['modules'] == before[1] and state['agvm']['skipped'] == 1
    after = [f for layer in state['kfac']['layers'].values() for f in [layer['factors']]]
    assert state['kfac']['skipped'] == 1 and all(map(torch.equal, factors, after))
    assert wrapper.loss_scaler.get_scale() == 2.0**15


def test_a_resume_continues_bit_for_bit(device: str, tmp_path: Any) -> None:
    config = dict(
        type='AGVMAmpOptimWrapper', optimizer=ADAMW, accumulative_counts=2,
        loss_scale=dict(init_scale=1024.0), agvm=dict(precondition=True, **EVERY_OTHER),
        clip_grad=dict(type='agc'), kfac=dict(statistics_interval=2, inverse_interval=2),
    )  # fmt: skip
    straight, wrapper = prepared(device, config)
    train(straight, wrapper, range(6))
    torch.save(dict(model=straight.state_dict(), wrapper=wrapper.state_dict()), tmp_path / 'x.pth')
    train(straight, wrapper, range(6, 12))
    resumed, other = prepared(device, config)
    loaded = torch.load(tmp_path / 'x.pth', map_location='cpu', weights_only=True)
    resumed.load_state_dict(loaded['model'])
    other.load_state_dict(loaded['wrapper'])
    train(resumed, other, range(6, 12))
    assert torch.equal(weights(resumed), weights(straight))
    assert agvm_state(other) == agvm_state(wrapper)
