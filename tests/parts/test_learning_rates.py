"""Scaled learning rates for one step, and nothing left behind."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from agvm_mm.parts import LearningRatePlan

SCALES = [1.0, 2.5, 0.8]


def _parameters() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(4, generator=generator)) for _ in range(6)]


def _set_gradients(parameters, step: int) -> None:
    generator = torch.Generator().manual_seed(100 + step)
    for parameter in parameters:
        parameter.grad = torch.randn(4, generator=generator)


OPTIMIZERS = {
    'SGD': lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-2, nesterov=True),
    'Adam': lambda p: torch.optim.Adam(p, lr=0.1, amsgrad=True),
    'AdamW': lambda p: torch.optim.AdamW(p, lr=0.1),
    'AdamW tensor lr': lambda p: torch.optim.AdamW(p, lr=torch.tensor(0.1), foreach=False),
    'NAdam': lambda p: torch.optim.NAdam(p, lr=0.1),
    'RAdam': lambda p: torch.optim.RAdam(p, lr=0.1),
    'Adamax': lambda p: torch.optim.Adamax(p, lr=0.1),
    'Adagrad': lambda p: torch.optim.Adagrad(p, lr=0.1),
    'Adadelta': lambda p: torch.optim.Adadelta(p, lr=0.1),
    'RMSprop': lambda p: torch.optim.RMSprop(p, lr=0.1, centered=True, momentum=0.5),
    'ASGD': lambda p: torch.optim.ASGD(p, lr=0.1),
}


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_one_group_with_a_plan_equals_a_group_for_every_module(name):
    """Bit for bit, over five steps."""
    together, apart = _parameters(), _parameters()
    planned = OPTIMIZERS[name](together)
    plan = LearningRatePlan(planned, {id(p): i // 2 for i, p in enumerate(together)})
    real = OPTIMIZERS[name]([dict(params=apart[2 * m : 2 * m + 2]) for m in range(3)])
    for group, scale in zip(real.param_groups, SCALES):
        group['lr'] = group['lr'] * scale
    for step in range(5):
        _set_gradients(together, step)
        _set_gradients(apart, step)
        with plan.scaled(SCALES):
            planned.step()
        real.step()
    for a, b in zip(together, apart):
        assert torch.equal(a, b)
    assert len(planned.param_groups) == 1 and float(planned.param_groups[0]['lr']) == pytest.approx(
        0.1
    )


def test_the_groups_come_back_when_the_step_raises():
    optimizer = torch.optim.SGD(_parameters(), lr=0.1)
    groups = optimizer.param_groups
    plan = LearningRatePlan(optimizer, {})
    with pytest.raises(RuntimeError, match='step'), plan.scaled([2.0]):
        assert optimizer.param_groups[0]['lr'] == pytest.approx(0.2)
        raise RuntimeError('step')
    assert optimizer.param_groups is groups and groups[0]['lr'] == 0.1


def test_scales_of_one_do_not_touch_the_optimizer():
    optimizer = torch.optim.SGD(_parameters(), lr=0.1)
    groups = optimizer.param_groups
    with LearningRatePlan(optimizer, {}).scaled([1.0, 1.0]):
        assert optimizer.param_groups is groups


def test_a_group_added_later_is_scaled_too():
    parameters = _parameters()
    optimizer = torch.optim.SGD(parameters[:2], lr=0.1)
    plan = LearningRatePlan(optimizer, {id(p): i // 2 for i, p in enumerate(parameters)})
    assert len(plan.pieces()) == 1
    optimizer.add_param_group(dict(params=parameters[2:4], lr=0.2))
    with plan.scaled(SCALES):
        assert [g['lr'] for g in optimizer.param_groups] == pytest.approx([0.1, 0.5])
    assert plan.base_rates(3) == pytest.approx([0.1, 0.2, 0.0])


class _CountingInGroup(torch.optim.SGD):
    """Keeps its step counter in the group, as pytorch_optimizer's optimizers do."""

    uneven = False

    def step(self, closure=None):
        for i, group in enumerate(self.param_groups):
            group['step'] = group.get('step', 0) + (1 + i if self.uneven else 1)
        return super().step(closure)


def test_what_the_step_writes_into_its_group_is_kept():
    parameters = _parameters()
    optimizer = _CountingInGroup(parameters, lr=0.1)
    plan = LearningRatePlan(optimizer, {id(p): i // 2 for i, p in enumerate(parameters)})
    for step in range(3):
        _set_gradients(parameters, step)
        with plan.scaled(SCALES):
            optimizer.step()
    assert optimizer.param_groups[0]['step'] == 3


def test_pieces_that_disagree_are_refused():
    parameters = _parameters()
    optimizer = _CountingInGroup(parameters, lr=0.1)
    optimizer.uneven = True
    plan = LearningRatePlan(optimizer, {id(p): i // 2 for i, p in enumerate(parameters)})
    sentence = (
        "keeps 'step' in its parameter groups and changed it differently for two modules of one "
        'group; give every module a group of its own .*custom_keys'
    )
    with pytest.raises(RuntimeError, match=sentence), plan.scaled(SCALES):
        optimizer.step()


class _Wrapping(torch.optim.SGD):
    def __init__(self, parameters, lr):
        super().__init__(parameters, lr)
        self.base_optimizer = torch.optim.SGD(parameters, lr)


@pytest.mark.parametrize(
    ('build', 'sentence'),
    [
        (lambda p: torch.optim.LBFGS(p), 'type is LBFGS, which keeps its own copy'),
        (lambda p: _Wrapping(p, lr=0.1), r'wraps another optimizer \(base_optimizer: SGD\)'),
    ],
)
def test_optimizers_that_cannot_be_scaled_are_refused(build, sentence):
    with pytest.raises(ValueError, match=sentence):
        LearningRatePlan(build(_parameters()), {})


def test_state_of_the_optimizer_is_that_of_a_plain_one():
    parameters = _parameters()
    optimizer = torch.optim.AdamW(parameters, lr=0.1)
    plan = LearningRatePlan(optimizer, {id(p): i // 2 for i, p in enumerate(parameters)})
    plain = torch.optim.AdamW(copy.deepcopy(parameters), lr=0.1)
    _set_gradients(parameters, 0)
    _set_gradients(plain.param_groups[0]['params'], 0)
    with plan.scaled(SCALES):
        optimizer.step()
    plain.step()
    found, expected = optimizer.state_dict(), plain.state_dict()
    assert found['param_groups'] == expected['param_groups']
    assert found['state'].keys() == expected['state'].keys()
