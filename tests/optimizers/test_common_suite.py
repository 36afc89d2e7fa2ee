"""What every optimizer must do, whatever its rule."""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from mmengine.registry import OPTIMIZERS
from suite_cases import BUILDERS, Build, copies, gradient, parameters, set_gradients, train
from torch import Tensor, nn

pytest.importorskip('pytorch_optimizer', reason='LARS and Adan come from it')


@pytest.fixture(params=BUILDERS)
def build(request: pytest.FixtureRequest) -> Build:
    return BUILDERS[request.param]


def _equal(left: list[nn.Parameter], right: list[nn.Parameter]) -> bool:
    return len(left) == len(right) > 0 and all(torch.equal(a, b) for a, b in zip(left, right))


def _through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def _tensors(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    values = [value for own in optimizer.state.values() for value in own.values()]
    listed = [v if isinstance(v, (list, tuple)) else [v] for v in values]
    return [v for found in listed for v in found if isinstance(v, Tensor)]


def test_solves_a_convex_problem(build: Build) -> None:
    """Least squares with a known answer, the rate falling to zero."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(64, 5, generator=generator, dtype=torch.float64)
    answer = torch.randn(6, 5, generator=generator, dtype=torch.float64)
    offset = torch.randn(6, generator=generator, dtype=torch.float64)
    targets = inputs @ answer.T + offset
    weight = nn.Parameter(0.3 * torch.randn(6, 5, generator=generator, dtype=torch.float64))
    bias = nn.Parameter(torch.zeros(6, dtype=torch.float64))
    optimizer = build([weight, bias], weight_decay=0.0)
    rates = [group['lr'] for group in optimizer.param_groups]
    losses, steps = [], 400
    for step in range(steps):
        loss = (inputs @ weight.T + bias - targets).square().mean()
        optimizer.zero_grad()
        loss.backward()
        for group, rate in zip(optimizer.param_groups, rates):
            group['lr'] = rate * (1 - step / steps)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 1e-3 * losses[0], (losses[0], losses[-1])


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16])
def test_keeps_types_and_stays_finite(build: Build, dtype: torch.dtype) -> None:
    params = parameters(dtype)
    before = copies(params)
    optimizer = build(params)
    train(optimizer, params)
    assert all(p.dtype == dtype and p.isfinite().all() for p in params)
    assert not any(torch.equal(a, b) for a, b in zip(params, before))
    own = [t for t in _tensors(optimizer) if t.ndim > 0]
    assert own and all(t.dtype == dtype and t.isfinite().all() for t in own)


def test_half_precision_is_near_float64(build: Build) -> None:
    if build is BUILDERS['SOAP']:
        pytest.skip('Adam divides the rounding of directions that a gradient lacks by itself')
    exact, rounded = parameters(), parameters(torch.bfloat16)
    start = [p.detach().clone() for p in exact]
    train(build(exact), exact, range(2))
    train(build(rounded), rounded, range(2))
    for a, b, first in zip(exact, rounded, start):
        assert (a - b.double()).abs().max() < 0.02 * (1 + first.abs().max())


def test_leaves_the_gradient_alone(build: Build) -> None:
    params = parameters()
    optimizer = build(params)
    for step in range(3):
        set_gradients(params, step)
        held = [p.grad for p in params]
        optimizer.step()
        for i, (p, g) in enumerate(zip(params, held)):
            assert p.grad is g and torch.equal(g, gradient(p, i, step))


def test_state_survives_a_file(build: Build) -> None:
    params = parameters()
    optimizer = build(params)
    train(optimizer, params)
    saved = optimizer.state_dict()
    other = build(copies(params), lr=9.0)
    other.load_state_dict(_through_a_file(saved))
    loaded = other.state_dict()
    assert loaded['param_groups'] == saved['param_groups']
    assert loaded['state'].keys() == saved['state'].keys() and saved['state']
    for key, own in saved['state'].items():
        for name, value in own.items():
            torch.testing.assert_close(loaded['state'][key][name], value, rtol=0, atol=0)


def test_a_resumed_run_is_the_same_to_the_bit(build: Build) -> None:
    whole = parameters()
    train(build(whole), whole, range(6))
    first = parameters()
    optimizer = build(first)
    train(optimizer, first, range(3))
    second = copies(first)
    resumed = build(second, lr=9.0)
    resumed.load_state_dict(_through_a_file(optimizer.state_dict()))
    train(resumed, second, range(3, 6))
    assert _equal(whole, second)


def test_a_group_for_each_parameter_equals_one_group(build: Build) -> None:
    """Lists of tensors equal single tensors."""
    together, apart = parameters(), parameters()
    train(build(together), together)
    train(build([dict(params=[p]) for p in apart]), apart)
    for a, b in zip(together, apart):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-13)


def test_options_of_a_group_are_those_of_an_optimizer_alone(build: Build) -> None:
    params = parameters()
    alone = copies(params)
    optimizer = build([dict(params=params[:3]), dict(params=params[3:], lr=0.2, weight_decay=0.3)])
    train(optimizer, params)
    one, two = build(alone[:3]), build(alone[3:], lr=0.2, weight_decay=0.3)
    for step in range(5):
        set_gradients(alone, step)
        one.step()
        two.step()
    for a, b in zip(params, alone):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-13)


def test_without_gradient_nothing_moves(build: Build) -> None:
    params = parameters()
    before = copies(params)
    optimizer = build(params)
    optimizer.step()
    assert _equal(params, before)
    set_gradients(params, 0)
    params[0].grad = params[-1].grad = None
    optimizer.step()
    optimizer.step()
    moved = [not torch.equal(a, b) for a, b in zip(params, before)]
    assert moved == [False] + [True] * (len(params) - 2) + [False]


def test_a_late_parameter_steps_as_a_new_one(build: Build) -> None:
    """What gets its first gradient in the third step does not disturb the others."""
    params, others = parameters(), parameters()
    optimizer, reference = build(params), build(others[:-2])
    for step in range(4):
        set_gradients(params, step)
        set_gradients(others, step)
        if step < 2:
            params[-1].grad = params[-2].grad = None
        optimizer.step()
        reference.step()
    for a, b in zip(params[:-2], others):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-13)
    assert all(p.isfinite().all() for p in params)


def test_a_zero_gradient_stays_finite(build: Build) -> None:
    params = parameters()
    optimizer = build(params)
    for parameter in params:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.step()
    assert all(p.isfinite().all() for p in params)


def test_a_zero_weight_moves_and_stays_finite(build: Build) -> None:
    params = [nn.Parameter(torch.zeros_like(p)) for p in parameters()]
    train(build(params), params)
    assert all(p.isfinite().all() and p.abs().max() > 0 for p in params)


def test_rank_one_gradients_stay_finite(build: Build) -> None:
    params = [nn.Parameter(torch.ones(8, 5)), nn.Parameter(torch.ones(5, 8))]
    optimizer = build(params)
    for step in range(5):
        for p in params:
            left, right = torch.arange(1.0, len(p) + 1), torch.linspace(-1, 1, p.shape[1])
            p.grad = torch.outer(left, right) * (-1) ** step
        optimizer.step()
    assert all(p.isfinite().all() for p in params)


def test_the_closure_is_evaluated_with_gradients(build: Build) -> None:
    parameter = nn.Parameter(torch.ones(2, 2))
    optimizer = build([parameter])

    def closure() -> Tensor:
        loss = parameter.square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 4.0
    optimizer.step(closure)  # SOAP's first step measures alone
    assert not torch.equal(parameter, torch.ones(2, 2))


def test_maximizing_is_minimizing_the_negative(build: Build, request: Any) -> None:
    name = request.node.callspec.params['build'].split()[0]
    kind: Callable[..., Any] = OPTIMIZERS.get(f'{name}Optimizer')
    if 'maximize' not in inspect.signature(kind).parameters:
        with pytest.raises(TypeError, match='maximize'):
            build(parameters(), maximize=True)
        return
    up, down = parameters(), parameters()
    rising, falling = build(up, maximize=True), build(down)
    for step in range(4):
        set_gradients(up, step)
        set_gradients(down, step)
        for p in down:
            assert p.grad is not None
            p.grad.neg_()
        rising.step()
        falling.step()
    assert _equal(up, down)
