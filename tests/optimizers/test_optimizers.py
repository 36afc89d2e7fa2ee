"""LARS and LAMB against their equations; what LARS, LAMB and Adan have in common."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.optim import DefaultOptimWrapperConstructor
from optimizer_case import GRADIENTS, P1, P2, build, close, parameters, set_gradients, train
from torch import Tensor, nn

from agvm_mm.optim.lr_plan import LearningRatePlan
from agvm_mm.optimizers.lamb import LAMBOptimizer

library = pytest.importorskip('pytorch_optimizer', reason='LARS and Adan come from it')

ALL = ['LARS', 'LAMB', 'Adan']


@contextmanager
def split_groups(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Give every parameter a copy of its group for one step, then keep what the step wrote."""
    groups = optimizer.param_groups
    parts = [[{**group, 'params': [p]} for p in group['params']] for group in groups]
    optimizer.param_groups = [part for pieces in parts for part in pieces]
    yield
    optimizer.param_groups = groups
    for group, pieces in zip(groups, parts):
        for key, value in pieces[0].items():
            if key != 'params':
                assert all(piece[key] == value for piece in pieces), key
                group[key] = value


def assert_same_groups(a: torch.optim.Optimizer, b: torch.optim.Optimizer) -> None:
    assert a.state_dict()['param_groups'] == b.state_dict()['param_groups']


def lars_oracle(params: list[np.ndarray], lr: float, eta: float, wd: float, m: float) -> None:
    """Algorithm 1 of arXiv:1708.03888, in place; vectors by plain momentum SGD."""
    velocity = [np.zeros_like(w) for w in params]
    for gradients in GRADIENTS:
        for w, g, v in zip(params, map(np.array, gradients), velocity):
            local, decay = 1.0, 0.0
            if w.ndim > 1:
                norms = np.linalg.norm(w), np.linalg.norm(g)
                local, decay = eta * norms[0] / (norms[1] + wd * norms[0]), wd
            v[...] = m * v + lr * local * (g + decay * w)
            w -= v


def lamb_oracle(params: list[np.ndarray], lr: float, eps: float, wd: float) -> None:
    """Algorithm 2 of arXiv:1904.00962, phi(z) = z, in place; vectors by plain Adam."""
    first = [np.zeros_like(w) for w in params]
    second = [np.zeros_like(w) for w in params]
    for t, gradients in enumerate(GRADIENTS, start=1):
        for w, g, m, v in zip(params, map(np.array, gradients), first, second):
            m[...] = 0.9 * m + 0.1 * g
            v[...] = 0.999 * v + 0.001 * g**2
            r = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + eps)
            if w.ndim > 1:
                r = r + wd * w
                r = r * np.linalg.norm(w) / np.linalg.norm(r)
            w -= lr * r


class TestLARS:
    OPTIONS = dict(lr=0.3, trust_coefficient=0.02, weight_decay=0.05, momentum=0.9)

    def test_equals_the_published_equations(self) -> None:
        params, expected = parameters(), [np.array(P1), np.array(P2)]
        train(build('LARS', params, **self.OPTIONS), params)
        lars_oracle(expected, lr=0.3, eta=0.02, wd=0.05, m=0.9)
        for actual, wanted in zip(params, expected):
            close(actual, wanted, 1e-14)

    @pytest.mark.parametrize('foreach', [True, False])
    def test_equals_the_library(self, foreach: bool) -> None:
        ours, theirs = parameters(), parameters()
        train(build('LARS', ours, nesterov=True, **self.OPTIONS), ours)
        train(library.LARS(theirs, nesterov=True, foreach=foreach, **self.OPTIONS), theirs)
        for a, b in zip(ours, theirs):
            close(a, b.detach().numpy(), 1e-15)

    def test_gradient_comes_back_when_the_step_raises(self) -> None:
        params = parameters()
        optimizer = build('LARS', params, **self.OPTIONS)
        set_gradients(params, 0)
        before = [parameter.grad for parameter in params]
        optimizer.param_groups[0]['lr'] = 'not a number'
        with pytest.raises(TypeError):
            optimizer.step()
        assert all(parameter.grad is gradient for parameter, gradient in zip(params, before))


class TestLAMB:
    def test_equals_the_published_equations(self) -> None:
        params, expected = parameters(), [np.array(P1), np.array(P2)]
        train(build('LAMB', params, lr=0.1, eps=1e-2, weight_decay=0.2), params)
        lamb_oracle(expected, lr=0.1, eps=1e-2, wd=0.2)
        for actual, wanted in zip(params, expected):
            close(actual, wanted, 1e-14)

    def test_equals_the_library_where_that_is_scale_free(self) -> None:
        # Without decay and eps the trust ratio cancels the missing bias correction.
        ours, theirs = parameters()[1:], parameters()[1:]
        options: dict[str, Any] = dict(lr=0.1, eps=1e-14)
        published = dict(weight_decouple=False, adam_debias=True)
        reference = library.Lamb(theirs, **options, **published)
        optimizer = build('LAMB', ours, **options)
        for step in range(4):
            for parameter in (*ours, *theirs):
                parameter.grad = torch.tensor(GRADIENTS[step][1], dtype=torch.float64)
            optimizer.step()
            reference.step()
        close(ours[0], theirs[0].detach().numpy(), 1e-12)

    def test_zero_weight_and_zero_gradient_have_no_ratio(self) -> None:
        zero, still = (nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.ones(2, 2)))
        optimizer = build('LAMB', [zero, still], lr=0.1)
        zero.grad, still.grad = torch.ones(2, 2), torch.zeros(2, 2)
        optimizer.step()
        close(zero, -0.1 * np.ones((2, 2)), 1e-6)
        assert torch.equal(still, torch.ones(2, 2))

    @pytest.mark.parametrize(
        ('options', 'sentence'),
        [
            (dict(lr=-1.0), r'^lr=-1.0 of LAMBOptimizer must not be negative'),
            (dict(eps=float('nan')), r'^eps=nan of LAMBOptimizer must not be negative'),
            (dict(betas=(0.9, 1.0)), r'^betas=\(0.9, 1.0\) of LAMBOptimizer must be two numbers'),
        ],
    )
    def test_bad_options_are_one_sentence(self, options: dict, sentence: str) -> None:
        with pytest.raises(ValueError, match=sentence):
            LAMBOptimizer(parameters(), **options)


@pytest.mark.parametrize('name', ALL)
class TestEvery:
    OPTIONS: dict[str, Any] = dict(lr=0.1, weight_decay=0.02)

    def test_leaves_the_gradient_alone(self, name: str) -> None:
        params = parameters()
        optimizer = build(name, params, **self.OPTIONS)
        for step in range(3):
            set_gradients(params, step)
            before = [parameter.grad for parameter in params]
            optimizer.step()
            for parameter, gradient, values in zip(params, before, GRADIENTS[step]):
                assert parameter.grad is gradient
                close(gradient, values, 0)

    def test_a_huge_gradient_is_not_clipped(self, name: str) -> None:
        params = parameters()
        optimizer = build(name, params, **self.OPTIONS)
        set_gradients(params, 0)
        params[0].grad.mul_(1e4)
        optimizer.step()
        key, weight = {
            'LARS': ('momentum_buffer', 1.0),
            'LAMB': ('exp_avg', 0.1),
            'Adan': ('exp_avg', 0.02),
        }[name]
        close(optimizer.state[params[0]][key], 1e4 * weight * np.array(GRADIENTS[0][0]), 1e-9)

    def test_resume_is_bit_exact(self, name: str) -> None:
        whole = parameters()
        train(build(name, whole, **self.OPTIONS), whole, range(6))
        first = parameters()
        optimizer = build(name, first, **self.OPTIONS)
        train(optimizer, first, range(3))
        saved = copy.deepcopy(optimizer.state_dict())
        second = [nn.Parameter(parameter.detach().clone()) for parameter in first]
        resumed = build(name, second, lr=9.0)
        resumed.load_state_dict(saved)
        train(resumed, second, range(3, 6))
        assert all(torch.equal(a, b) for a, b in zip(whole, second))

    def test_groups_split_for_the_step_equal_whole_ones(self, name: str) -> None:
        whole, split = parameters(), parameters()
        reference = build(name, whole, **self.OPTIONS)
        optimizer = build(name, split, **self.OPTIONS)
        for step in range(4):
            set_gradients(whole, step)
            set_gradients(split, step)
            reference.step()
            with split_groups(optimizer):
                optimizer.step()
        assert all(torch.equal(a, b) for a, b in zip(whole, split))
        assert_same_groups(reference, optimizer)

    def test_learning_rate_plan_equals_real_groups(self, name: str) -> None:
        real, planned = parameters(), parameters()
        rates = [dict(params=[real[0]]), dict(params=[real[1]], lr=3.0 * self.OPTIONS['lr'])]
        reference = build(name, rates, **self.OPTIONS)
        optimizer = build(name, planned, **self.OPTIONS)
        plan = LearningRatePlan(optimizer, {id(p): module for module, p in enumerate(planned)})
        for step in range(4):
            set_gradients(real, step)
            set_gradients(planned, step)
            reference.step()
            with plan.scaled([1.0, 3.0]):
                optimizer.step()
        assert all(torch.equal(a, b) for a, b in zip(real, planned))
        assert [group['lr'] for group in optimizer.param_groups] == [self.OPTIONS['lr']]

    def test_builds_through_the_constructor_of_mmengine(self, name: str) -> None:
        model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
        constructor = DefaultOptimWrapperConstructor(
            dict(type='OptimWrapper', optimizer=dict(type=f'{name}Optimizer', **self.OPTIONS)),
            paramwise_cfg=dict(norm_decay_mult=0.0),
        )
        wrapper = constructor(model)
        model(torch.randn(2, 3, 4, 4)).square().mean().backward()
        before = model[0].weight.detach().clone()
        wrapper.step()
        assert not torch.equal(before, model[0].weight)

    def test_closure_is_evaluated_with_gradients(self, name: str) -> None:
        parameter = nn.Parameter(torch.ones(2, 2))
        optimizer = build(name, [parameter], **self.OPTIONS)

        def closure() -> Tensor:
            loss = parameter.square().sum()
            loss.backward()
            return loss

        assert optimizer.step(closure).item() == 4.0
        assert not torch.equal(parameter, torch.ones(2, 2))


@pytest.mark.parametrize('name', ['LARS', 'Adan'])
def test_absent_library_says_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from agvm_mm.optimizers import lars

    lars._library_class.cache_clear()
    monkeypatch.setitem(sys.modules, 'pytorch_optimizer', None)
    with pytest.raises(ImportError, match=rf"type='{name}Optimizer' needs pytorch_optimizer;"):
        build(name, parameters(), lr=0.1)
