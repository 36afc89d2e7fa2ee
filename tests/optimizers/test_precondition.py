"""D is the optimizer's own diagonal of the previous step, and the variance is that of D g."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch._dynamo  # what DistributedDataParallel imports, before the ranks are forked
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import build_optim_wrapper
from mmengine.registry import OPTIMIZERS
from networks import ReplayNet
from ranks import run_ranks
from second_moments import (
    ADAN_BETAS,
    ALPHA,
    BETAS,
    DECAY,
    EPS,
    LR,
    adagrad,
    adam,
    adan,
    lamb,
    nadam,
    rmsprop,
)
from torch import Tensor, nn

import agvm_mm  # noqa: F401
from agvm_mm.optimizers import SecondMoment, register_second_moment, second_moments
from agvm_mm.optimizers.second_moments import build_preconditioner, second_moment_of
from agvm_mm.parts import AGVMPart

KINDS: dict[str, tuple[dict[str, Any], Any]] = {
    'Adam': (dict(type='Adam', betas=BETAS), adam),
    'Adam amsgrad': (dict(type='Adam', betas=BETAS, amsgrad=True), partial(adam, largest=True)),
    'AdamW': (dict(type='AdamW', betas=BETAS), partial(adam, decoupled=True)),
    'AdamW amsgrad': (
        dict(type='AdamW', betas=BETAS, amsgrad=True),
        partial(adam, decoupled=True, largest=True),
    ),
    'NAdam': (dict(type='NAdam', betas=BETAS), nadam),
    'RMSprop': (dict(type='RMSprop', alpha=ALPHA), rmsprop),
    'RMSprop centered': (
        dict(type='RMSprop', alpha=ALPHA, centered=True),
        partial(rmsprop, centered=True),
    ),
    'Adagrad': (dict(type='Adagrad'), adagrad),
    'Adan': (dict(type='AdanOptimizer', betas=ADAN_BETAS), adan),
    'LAMB': (dict(type='LAMBOptimizer', betas=BETAS), lamb),
}


def _build(name: str, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    if name == 'Adan':
        pytest.importorskip('pytorch_optimizer', reason='Adan comes from it')
    options = dict(KINDS[name][0], lr=LR, eps=EPS, weight_decay=DECAY)
    return OPTIMIZERS.build(dict(options, params=parameters))


def _step(optimizer: torch.optim.Optimizer, gradients: list[np.ndarray | None]) -> None:
    for parameter, gradient in zip(optimizer.param_groups[0]['params'], gradients):
        parameter.grad = None if gradient is None else torch.from_numpy(gradient)
    optimizer.step()


def _arrays(count: int, shape: tuple[int, ...] = (3, 4)) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(0.1 * k, 10.0 ** (k % 3 - 1), shape) for k in range(count)]


def _parameter(values: np.ndarray) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(values.copy()))


def _equal(found: Tensor | None, expected: np.ndarray) -> None:
    """As near as NAdam comes, which multiplies up its momenta in float32."""
    assert found is not None
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize('steps', [1, 5])
@pytest.mark.parametrize('name', KINDS)
def test_d_is_that_of_the_published_rule(name, steps):
    """The weights too, so that the rule of the test is the one the optimizer follows."""
    start, *gradients = _arrays(steps + 1)
    parameter = _parameter(start)
    optimizer = _build(name, [parameter])
    diagonal = build_preconditioner(optimizer)
    for gradient in gradients:
        _step(optimizer, [gradient])
    weights, expected = KINDS[name][1](start, gradients)
    _equal(parameter, weights)
    _equal(diagonal(parameter), expected)


@pytest.mark.parametrize('name', KINDS)
def test_a_parameter_that_was_never_stepped_has_no_d(name):
    start, *gradients = _arrays(3)
    used, unused = _parameter(start), _parameter(start)
    optimizer = _build(name, [used, unused])
    diagonal = build_preconditioner(optimizer)
    assert diagonal(used) is None and diagonal(unused) is None
    for gradient in gradients:
        _step(optimizer, [gradient, None])
    assert diagonal(used) is not None and diagonal(unused) is None


@pytest.mark.parametrize('name', KINDS)
def test_d_follows_a_checkpoint_that_is_loaded_later(name):
    start, *gradients = _arrays(4)
    parameter = _parameter(start)
    first = _build(name, [parameter])
    for gradient in gradients:
        _step(first, [gradient])
    other = _parameter(start)
    second = _build(name, [other])
    diagonal = build_preconditioner(second)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    _equal(diagonal(other), KINDS[name][1](start, gradients)[1])


@pytest.mark.parametrize('name', ['SGD', 'Rprop'])
def test_an_optimizer_without_second_moment_is_refused_with_the_list(name):
    model = ReplayNet(dict(backbone=2, neck=2), torch.zeros(4))
    config = dict(
        type='AGVMOptimWrapper',
        optimizer=dict(type=name, lr=0.1),
        accumulative_counts=2,
        agvm=dict(precondition=True),
    )
    wrapper = build_optim_wrapper(model, config)
    known = r'known are Adagrad, Adam, AdamW,( Adan,)? LAMBOptimizer, NAdam, RMSprop;'
    with pytest.raises(ValueError, match=rf'precondition is True, but {name} has.*{known}.*False'):
        wrapper.initialize_count_status(model, 0, 10)


def test_a_registered_class_and_its_children_are_known(monkeypatch):
    class Parent(torch.optim.SGD):
        pass

    class Child(Parent):
        pass

    monkeypatch.setattr(second_moments, '_REGISTRY', dict(second_moments._REGISTRY))
    optimizer = Child([_parameter(np.ones(2))], lr=0.1)
    with pytest.raises(ValueError, match='but Child has no registered second moment'):
        second_moment_of(optimizer)
    register_second_moment(Parent, SecondMoment('v'))
    assert second_moment_of(optimizer) == SecondMoment('v')
    register_second_moment(Child, SecondMoment('w', beta=1))
    assert second_moment_of(optimizer) == SecondMoment('w', beta=1)
    assert second_moment_of(Parent([_parameter(np.ones(2))], lr=0.1)) == SecondMoment('v')


SIZES = dict(backbone=12, neck=8)
TOTAL = sum(SIZES.values())


def _gradient(update: int, sample: int) -> np.ndarray:
    """Numbers of very different size, which D makes equal; less noise in the neck."""
    rng = np.random.default_rng([update, sample])
    spread = np.repeat([1.0, 0.2], list(SIZES.values()))
    return (0.5 + spread * rng.normal(size=TOTAL)) * 10.0 ** np.linspace(-2, 2, TOTAL)


def _train(
    rank: int, ranks: int, counts: int, updates: int, agvm: dict[str, Any] | None
) -> dict[str, Any]:
    model: Any = ReplayNet(SIZES, torch.ones(TOTAL, dtype=torch.float64))
    if ranks > 1:
        model = MMDistributedDataParallel(model)
    optimizer = dict(type='AdamW', lr=LR, betas=BETAS, eps=EPS, weight_decay=DECAY)
    if agvm is not None:
        agvm = dict(agvm, interval=1, momentum=0.5, precondition=True)
    wrapper: Any = build_optim_wrapper(
        model,
        dict(
            type='AGVMOptimWrapper',
            optimizer=optimizer,
            accumulative_counts=counts,
            agvm=agvm,
        ),
    )
    wrapper.initialize_count_status(model, 0, updates * counts)
    estimates: list[Any] = []
    if wrapper.part(AGVMPart) is not None:
        wrapper.part(AGVMPart).observers.append(lambda _, estimate: estimates.append(estimate))
    history = []
    for update in range(updates):
        for micro in range(counts):
            gradient = torch.from_numpy(_gradient(update, rank * counts + micro))
            model.train_step(dict(inputs=[gradient]), wrapper)
        weights = torch.cat([p.detach() for p in model.parameters()])
        history.append(
            (weights, wrapper.part(AGVMPart) and wrapper.part(AGVMPart).state_dict()['modules'])
        )
    return dict(history=history, estimates=[(e.numerator, e.denominator) for e in estimates])


def test_moments_are_those_of_gathered_gradients_times_the_previous_d():
    results = run_ranks(_train, 2, 2, 1, 4, dict(estimator='all_pairs'))
    gathered = [np.stack([_gradient(update, rank) for rank in range(2)]) for update in range(4)]
    means = [gradients.mean(0) for gradients in gathered]
    for update in range(1, 4):
        _, d = adam(np.ones(TOTAL), means[:update], decoupled=True)
        parts = np.split(d * gathered[update], [SIZES['backbone']], axis=1)
        a = np.array([(part**2).sum(1).mean() for part in parts])
        b = np.array([(part.mean(0) ** 2).sum() for part in parts])
        for result in results:
            numerator, denominator = (part.numpy() for part in result['estimates'][update])
            np.testing.assert_allclose(numerator, 2 * (a - b), rtol=1e-12)
            np.testing.assert_allclose(denominator, a, rtol=1e-12)


@pytest.mark.parametrize('estimator', ['all_pairs', 'half_split'])
def test_the_first_update_changes_nothing_and_the_second_does(estimator):
    plain = _train(0, 1, 2, 2, None)['history']
    found = _train(0, 1, 2, 2, dict(estimator=estimator))['history']
    (weights, modules), (later, measured) = found
    assert torch.equal(weights, plain[0][0])
    for module in modules.values():
        assert module['scale'] == 1.0 and module['estimates'] == 0
        assert module['numerator'] == module['denominator'] == 0.0
    assert measured['neck']['estimates'] == 1 and abs(measured['neck']['scale'] - 1) > 0.01
    assert not torch.equal(later, plain[1][0])


@pytest.mark.parametrize('estimator', ['all_pairs', 'half_split'])
def test_one_process_with_four_micro_batches_equals_four_ranks(estimator):
    agvm = dict(estimator=estimator)
    alone = _train(0, 1, 4, 4, agvm)['history']
    assert abs(alone[-1][1]['neck']['scale'] - 1) > 0.01
    for ranks in (2, 4):
        together = run_ranks(_train, ranks, ranks, 4 // ranks, 4, agvm)[0]['history']
        for (weights, modules), (expected, others) in zip(together, alone):
            torch.testing.assert_close(weights, expected, rtol=1e-12, atol=1e-12)
            for name, module in modules.items():
                assert module['scale'] == pytest.approx(others[name]['scale'], rel=1e-12)
