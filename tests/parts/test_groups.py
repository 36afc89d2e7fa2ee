"""Groups of equal options are one for the step, and as they were before and after it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from optimizer_case import build, parameters, set_gradients
from torch import nn

import agvm_mm.parts.groups as groups_module
from agvm_mm.optimizers import register_parameterwise
from agvm_mm.parts.groups import JoinedLayout, joined
from agvm_mm.parts.learning_rates import LearningRatePlan
from agvm_mm.wrappers import AGVMOptimWrapper

SEEN: list[list[tuple[int, float, float]]] = []


@register_parameterwise
class Watching(torch.optim.SGD):
    """Notes the groups that its step sees: tensors, learning rate, weight decay."""

    def step(self, closure: Any = None) -> Any:
        SEEN.append(
            [(len(g['params']), float(g['lr']), g['weight_decay']) for g in self.param_groups]
        )
        return super().step(closure)


def watched() -> Watching:
    """Four parameters in a group each, two of them without decay."""
    SEEN.clear()
    params = [nn.Parameter(torch.ones(2)) for _ in range(4)]
    decays = (0.1, 0.0, 0.1, 0.0)
    groups = [dict(params=[p], weight_decay=decay) for p, decay in zip(params, decays)]
    return Watching(groups, lr=1.0)


def test_equal_groups_are_joined_for_the_step() -> None:
    optimizer = watched()
    groups = optimizer.param_groups
    with joined(optimizer, JoinedLayout()):
        optimizer.step()
    assert SEEN == [[(2, 1.0, 0.1), (2, 1.0, 0.0)]]
    assert optimizer.param_groups is groups and [len(g['params']) for g in groups] == [1] * 4


@pytest.mark.parametrize('agvm', [None, dict(interval=1, apply=False)])
def test_clipping_sees_the_groups_of_the_config(agvm: Any) -> None:
    optimizer = watched()
    params = [group['params'][0] for group in optimizer.param_groups]
    model = nn.ModuleDict(dict(backbone=nn.ParameterList(params)))
    wrapper = AGVMOptimWrapper(
        optimizer, agvm=agvm, clip_grad=dict(max_norm=1.0), accumulative_counts=2
    )
    seen: list[list[nn.Parameter]] = []
    wrapper.clip_func = lambda parameters, **_: seen.append(parameters)
    wrapper.initialize_count_status(model, 0, 2)
    for _ in range(2):
        wrapper.update_params(sum(p.square().sum() for p in params))
    assert [id(p) for p in seen[0]] == [id(p) for p in params]
    assert [len(groups) for groups in SEEN] == [2]


def test_with_scales_what_is_equal_after_scaling_is_joined() -> None:
    optimizer = watched()
    params = [group['params'][0] for group in optimizer.param_groups]
    plan = LearningRatePlan(optimizer, {id(p): i // 2 for i, p in enumerate(params)})
    optimizer.param_groups[2]['lr'] = 0.5  # of the module with the scale 2
    with plan.scaled([1.0, 2.0]), joined(optimizer, JoinedLayout()):
        optimizer.step()
    assert SEEN == [[(2, 1.0, 0.1), (1, 1.0, 0.0), (1, 2.0, 0.0)]]
    assert [group['lr'] for group in optimizer.param_groups] == [1.0, 1.0, 0.5, 1.0]


def test_nothing_is_left_behind_without_a_step_or_by_one_that_raises() -> None:
    optimizer = watched()
    groups = optimizer.param_groups
    with joined(optimizer, JoinedLayout()):
        pass
    optimizer.step()
    assert len(SEEN[-1]) == 4
    with pytest.raises(TypeError), joined(optimizer, JoinedLayout()):
        optimizer.step(closure=3)
    assert optimizer.param_groups is groups


def test_options_that_cannot_be_compared_keep_groups_apart() -> None:
    params = [nn.Parameter(torch.ones(2)) for _ in range(3)]
    rate = torch.tensor(0.1)
    groups = [dict(params=[p], lr=rate.clone(), names=[]) for p in params]
    together, places = JoinedLayout().join(groups)
    assert len(together) == 3 and places == [0, 1, 2]
    assert len(JoinedLayout().join([dict(params=[], lr=1), dict(params=[], lr=1.0)])[0]) == 2


@pytest.mark.parametrize('name', ['Adan', 'LAMB', 'LARS'])
def test_one_group_a_parameter_equals_one_group(name: str) -> None:
    """Weights, state and the counter in the groups, bit for bit."""
    pytest.importorskip('pytorch_optimizer')
    together, apart = parameters(), parameters()
    reference = build(name, together, lr=0.1, weight_decay=0.02)
    optimizer = build(name, [dict(params=[p]) for p in apart], lr=0.1, weight_decay=0.02)
    for step in range(4):
        for params in (together, apart):
            set_gradients(params, step)
        reference.step()
        with joined(optimizer, JoinedLayout()):
            optimizer.step()
    assert all(map(torch.equal, together, apart))
    (group,) = reference.param_groups
    for other in optimizer.param_groups:
        assert {k: v for k, v in other.items() if k != 'params'} == {
            k: v for k, v in group.items() if k != 'params'
        }


@pytest.mark.parametrize('agvm', [None, dict(interval=1, apply=False)])
def test_the_wrapper_joins_what_paramwise_cfg_took_apart(agvm: Any) -> None:
    from mmengine.registry import OPTIMIZERS

    SEEN.clear()
    if 'Watching' not in OPTIMIZERS:
        OPTIMIZERS.register_module(module=Watching)
    model = nn.ModuleDict(
        dict(backbone=nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)), head=nn.Linear(4, 4))
    )
    wrapper = build_optim_wrapper(
        model,
        dict(
            type='AGVMOptimWrapper',
            optimizer=dict(type='Watching', lr=0.1, weight_decay=0.1),
            paramwise_cfg=dict(norm_decay_mult=0.0),
            agvm=agvm,
            accumulative_counts=2,
        ),
    )
    wrapper.initialize_count_status(model, 0, 2)
    for _ in range(2):
        loss = model['head'](model['backbone'](torch.randn(2, 4))).square().mean()
        wrapper.update_params(loss)
    assert SEEN == [[(4, 0.1, 0.1), (2, 0.1, 0.0)]]
    assert len(wrapper.optimizer.param_groups) == 6


def test_a_layout_is_found_once_and_again_when_an_option_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked: list[Any] = []
    options = groups_module._options
    monkeypatch.setattr(groups_module, '_options', lambda g: looked.append(g) or options(g))
    optimizer, layout = watched(), JoinedLayout()
    groups = optimizer.param_groups
    for lr in (1.0, 0.5, 0.25):
        for group in groups:
            group['lr'] = lr
        assert layout.join(groups)[1] == [0, 1, 0, 1]
    assert len(looked) == 4
    groups[0]['lr'] = 0.125
    assert layout.join(groups)[1] == [0, 1, 2, 1]
    assert len(looked) == 4
    groups[1]['weight_decay'] = 0.1
    assert layout.join(groups)[1] == [0, 1, 1, 2]
    assert len(looked) == 8
