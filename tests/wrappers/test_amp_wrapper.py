"""Mixed precision with a real loss scaler: the loss scale never reaches the statistics."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch._dynamo  # what DistributedDataParallel imports, before the ranks are forked
from cpu_amp import on_cpu
from mmengine.logging import MessageHub
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import build_optim_wrapper
from networks import ReplayNet
from ranks import run_ranks
from runs import ThreePartNet, data
from torch import Tensor, nn

import agvm_mm  # noqa: F401
from agvm_mm.parts import AGVMPart

ESTIMATORS = pytest.mark.parametrize('estimator', ['all_pairs', 'half_split'])
SIZES = dict(backbone=8, neck=8)


def _data(step: int) -> dict[str, Any]:
    return data(0, step)


def _config(amp: bool = True, agvm: dict[str, Any] | None = None, **config: Any) -> dict[str, Any]:
    plain = dict(
        type='AGVMOptimWrapper',
        optimizer=dict(type='AdamW', lr=0.01),
        accumulative_counts=2,
        agvm=dict(interval=1, momentum=0.5, **(agvm or {})),
    )
    mixed = dict(type='AGVMAmpOptimWrapper', dtype='bfloat16') if amp else {}
    return {**plain, **mixed, **config}


def _build(model: nn.Module, config: dict[str, Any]) -> Any:
    with on_cpu(config['type']):
        return build_optim_wrapper(model, copy.deepcopy(config))


def _net(config: dict[str, Any]) -> tuple[ThreePartNet, Any]:
    torch.manual_seed(0)
    model = ThreePartNet()
    return model, _build(model, config)


def _train(model: Any, wrapper: Any, start: int = 0, stop: int = 8, total: int = 8) -> Any:
    wrapper.initialize_count_status(model, start, total)
    for step in range(start, stop):
        model.train_step(_data(step), wrapper)
    return wrapper.part(AGVMPart).state_dict()


def _weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def _logged() -> dict[str, list[float]]:
    scalars = MessageHub.get_current_instance().log_scalars
    return {k: list(v.data[0]) for k, v in scalars.items() if k.startswith('train/agvm/')}


def _scaled(init_scale: float, estimator: str, precondition: bool) -> dict[str, Any]:
    MessageHub._instance_dict.clear()
    agvm = dict(estimator=estimator, precondition=precondition)
    scaler = dict(init_scale=init_scale, growth_interval=3)
    model, wrapper = _net(_config(agvm=agvm, loss_scale=scaler))
    assert wrapper.loss_scaler.get_scale() == init_scale
    state = _train(model, wrapper)
    assert model.computed_in == torch.bfloat16
    assert wrapper.loss_scaler.get_scale() == 2 * init_scale  # it grew on the way
    return dict(state=state, weights=_weights(model), logged=_logged())


@pytest.mark.parametrize('precondition', [False, True], ids=['gradient', 'preconditioned'])
@ESTIMATORS
def test_the_loss_scale_changes_no_bit(estimator, precondition):
    """Powers of two: scales, averages, weights and what is logged; the gradients are float32."""
    small, large = (_scaled(scale, estimator, precondition) for scale in (1.0, 65536.0))
    assert small['state'] == large['state']
    assert torch.equal(small['weights'], large['weights'])
    assert small['logged'] == large['logged'] and len(small['logged']['train/agvm/phi/neck']) > 2
    assert abs(small['state']['modules']['neck']['scale'] - 1) > 0.01


def test_the_averages_hold_unscaled_moments():
    """Those of a wrapper without loss scale, to the rounding of bfloat16 autocast."""
    scaled = _scaled(65536.0, 'all_pairs', False)['state']['modules']
    model, wrapper = _net(_config(amp=False))
    plain = _train(model, wrapper)['modules']
    for module in plain:
        for key in ('numerator', 'denominator', 'unit'):
            assert scaled[module][key] == pytest.approx(plain[module][key], rel=0.1)


def _gradient(rank: int, step: int) -> Tensor:
    generator = torch.Generator().manual_seed(10 * step + rank)
    return 0.5 + torch.randn(16, generator=generator)


def _overflow(rank: int, size: float, estimator: str) -> list[dict[str, Any]]:
    """On update 2 the gradient of rank 1 has one entry of ``size``."""
    model = MMDistributedDataParallel(ReplayNet(SIZES, torch.zeros(16)))
    scaler = dict(init_scale=65536.0, growth_interval=1000)
    config = _config(agvm=dict(estimator=estimator), accumulative_counts=1, loss_scale=scaler)
    wrapper = _build(model, config)
    wrapper.initialize_count_status(model, 0, 10)
    history = []
    for step in range(5):
        gradient = _gradient(rank, step)
        if (rank, step) == (1, 2):
            gradient[3] = size
        model.train_step(dict(inputs=[gradient]), wrapper)
        history.append(
            dict(
                state=wrapper.part(AGVMPart).state_dict(),
                scales=wrapper.part(AGVMPart).scales(wrapper.updates),
                weights=_weights(model),
                loss_scale=wrapper.loss_scaler.get_scale(),
            )
        )
    return history


@ESTIMATORS
@pytest.mark.parametrize('size', [float('inf'), 1e35], ids=['inf', 'scaled beyond float32'])
def test_an_overflow_on_one_rank_skips_estimate_and_step_on_both(size, estimator):
    first, second = run_ranks(_overflow, 2, size, estimator)
    for a, b in zip(first, second):
        assert a['state'] == b['state'] and a['scales'] == b['scales']
        assert torch.equal(a['weights'], b['weights']) and a['loss_scale'] == b['loss_scale']
    before, at, after = first[1:4]
    assert at['state']['skipped'] == 1 and at['state']['modules'] == before['state']['modules']
    assert at['scales'] == before['scales'] and abs(at['scales'][1] - 1) > 0.01
    assert torch.equal(at['weights'], before['weights'])
    assert [entry['loss_scale'] for entry in first] == [65536.0, 65536.0, 32768.0, 32768.0, 32768.0]
    assert not torch.equal(after['weights'], at['weights']) and after['weights'].isfinite().all()
    assert after['state']['modules']['neck']['estimates'] == 3
    assert after['state']['skipped'] == 1


def _clipped(clip_grad: dict[str, Any] | None, agvm: dict[str, Any]) -> tuple[Any, Tensor]:
    model = ReplayNet(SIZES, torch.zeros(16))
    sgd = dict(type='SGD', lr=0.1)
    wrapper = _build(model, _config(agvm=agvm, optimizer=sgd, clip_grad=clip_grad))
    wrapper.initialize_count_status(model, 0, 10)
    for step in range(6):
        model.train_step(dict(inputs=[_gradient(0, step)]), wrapper)
    return wrapper.part(AGVMPart).state_dict(), _weights(model)


@ESTIMATORS
def test_the_gradient_is_measured_before_it_is_unscaled_and_clipped(estimator):
    """Prescribed gradients, so that the clipped steps do not change the next measurement."""
    agvm = dict(estimator=estimator)
    (plain, far), (clipped, near) = (_clipped(c, agvm) for c in (None, dict(max_norm=0.1)))
    assert clipped == plain and abs(plain['modules']['neck']['scale'] - 1) > 0.01
    assert near.norm() < 0.2 * far.norm()
    # Three steps of length 0.1 at lr 0.1 and scales of at most sqrt(10): really clipped.
    assert 0 < near.norm() < 3 * 0.1 * 0.1 * 10**0.5


@ESTIMATORS
def test_a_resumed_run_ends_bitwise_as_an_uninterrupted_one(estimator):
    config = _config(agvm=dict(estimator=estimator), clip_grad=dict(max_norm=1.0))
    whole, wrapper = _net(config)
    state = _train(whole, wrapper)
    first, half = _net(config)
    _train(first, half, stop=4)
    saved = copy.deepcopy(half.state_dict())
    assert {'loss_scaler', 'agvm', 'state', 'param_groups'} <= set(saved)
    second, resumed = _net(config)
    second.load_state_dict(first.state_dict())
    resumed.load_state_dict(saved)
    assert {'loss_scaler', 'agvm'} <= set(saved), 'the checkpoint stays as it was'
    assert _train(second, resumed, start=4) == state
    assert torch.equal(_weights(second), _weights(whole))
    assert resumed.loss_scaler.state_dict() == wrapper.loss_scaler.state_dict()
    assert wrapper.loss_scaler.get_scale() == 2048.0  # it grew after the save


@pytest.mark.parametrize('amp', [True, False], ids=['plain to mixed', 'mixed to plain'])
def test_a_checkpoint_of_the_other_wrapper_loads(amp):
    model, wrapper = _net(_config(amp=not amp))
    state = _train(model, wrapper, stop=4)
    second, other = _net(_config(amp=amp))
    second.load_state_dict(model.state_dict())
    saved = copy.deepcopy(wrapper.state_dict())
    assert ('loss_scaler' in saved) is (not amp)
    other.load_state_dict(saved)
    other.initialize_count_status(second, 4, 8)
    assert other.part(AGVMPart).state_dict() == state
    assert _optimizer_state(other) == _optimizer_state(wrapper)
    for step in range(4, 8):
        second.train_step(_data(step), other)
    continued = other.part(AGVMPart).state_dict()
    assert continued['modules']['neck']['estimates'] == 4
    assert ('loss_scaler' in other.state_dict()) is amp


def _optimizer_state(wrapper: Any) -> list[list[float]]:
    return [
        value.reshape(-1).tolist()
        for state in wrapper.optimizer.state_dict()['state'].values()
        for value in state.values()
    ]
