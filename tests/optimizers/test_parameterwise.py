"""Groups are joined and split for the step without a change to what the optimizer computes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch.optim import Optimizer

from agvm_mm.optimizers import register_parameterwise
from agvm_mm.parts import LearningRatePlan
from agvm_mm.parts.groups import is_parameterwise
from agvm_mm.wrappers import AGVMOptimWrapper

COUNTS, UPDATES = 2, 4
MUON = dict(use_muon=True)
# Options without which a class can't be built or doesn't move.
OPTIONS: dict[str, dict[str, Any]] = {
    'Ranger21': dict(num_iterations=10),
    **dict.fromkeys(['AdaGO', 'AdaMuon', 'MuonClip', 'NorMuon'], MUON),
}
# Need a closure, second derivatives, the model, ranks, another optimizer or sparse gradients.
ELSEWHERE = [
    'AdaHessian',
    'AdaLOMO',
    'AdamMini',
    'AliG',
    'BSAM',
    'DeMo',
    'DistributedMuon',
    'FriendlySAM',
    'GSAM',
    'LBFGS',
    'LOMO',
    'LookSAM',
    'Lookahead',
    'OrthoGrad',
    'PCGrad',
    'SAM',
    'SafeFP16Optimizer',
    'ScheduleFreeWrapper',
    'SophiaH',
    'SparseAdam',
    'TRAC',
    'WSAM',
]


def _classes() -> Iterator[Any]:
    for package in ('torch.optim', 'pytorch_optimizer'):
        try:
            library = __import__(package, fromlist=['*'])
        except ImportError:
            continue
        for name, kind in sorted(vars(library).items()):
            known = name in ('Optimizer', 'BaseOptimizer', *ELSEWHERE)
            if inspect.isclass(kind) and issubclass(kind, Optimizer) and not known:
                yield pytest.param(kind, id=f'{package}.{name}')


class GroupNormalised(torch.optim.SGD):
    """Divides by the norm of a group's gradients."""

    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            gradients = [p.grad for p in group['params']]
            norm = torch.cat([g.flatten() for g in gradients]).norm()
            for gradient in gradients:
                gradient.div_(norm)
        return super().step(closure)


class Langevin(torch.optim.SGD):
    """Draws the noise of a group at once."""

    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            noise = torch.randn(sum(p.numel() for p in group['params']))
            for p, part in zip(group['params'], noise.split([p.numel() for p in group['params']])):
                p.grad.add_(part.view_as(p))
        return super().step(closure)


def _train(kind: Any, agvm: Any, **more: Any) -> Tensor:
    """Weights after some updates with a group for every parameter; ``agvm='plain'``: MMEngine's."""
    torch.manual_seed(0)
    model = nn.ModuleDict(
        dict(
            backbone=nn.Sequential(nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False)),
            head=nn.Linear(6, 4, bias=False),
        )
    )
    options = dict(OPTIONS.get(kind.__name__, {}))
    own = {key: options.pop(key) for key in list(options) if key == 'use_muon'}
    groups = [dict(params=[p], **own) for p in model.parameters()]
    if kind.__name__ == 'Muon' and 'pytorch' in kind.__module__:
        groups = [dict(group, **MUON) for group in groups]
    if kind.__name__ != 'A2Grad':
        options['lr'] = 0.1
    optimizer = kind(groups, **options)
    wrapper = (
        OptimWrapper(optimizer, accumulative_counts=COUNTS)
        if agvm == 'plain'
        else AGVMOptimWrapper(optimizer, agvm=agvm, accumulative_counts=COUNTS, **more)
    )
    wrapper.initialize_count_status(model, 0, COUNTS * UPDATES)
    torch.manual_seed(1)  # of optimizers that draw
    for step in range(COUNTS * UPDATES):
        batch = torch.randn(3, 6, generator=torch.Generator().manual_seed(step))
        wrapper.update_params(model['head'](model['backbone'](batch)).square().mean())
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def _equal(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a.view(torch.int32), b.view(torch.int32))


@pytest.mark.parametrize('kind', [*_classes(), GroupNormalised, Langevin])
def test_without_scales_every_optimizer_steps_as_in_the_plain_wrapper(kind: Any) -> None:
    """``agvm=None`` and ``apply=False``, bit for bit."""
    try:
        plain = _train(kind, 'plain')
    except ImportError as error:
        pytest.skip(str(error))
    assert _equal(_train(kind, None), plain)
    measuring = dict(interval=1, apply=False)
    if kind.__name__ in ('A2Grad', 'Magma'):
        with pytest.raises(ValueError, match=f'optim_wrapper.optimizer.type is {kind.__name__}'):
            _train(kind, measuring)
    else:
        assert _equal(_train(kind, measuring), plain)


def test_only_known_classes_are_joined() -> None:
    parameters = [nn.Parameter(torch.ones(2, 2))]
    assert is_parameterwise(torch.optim.AdamW(parameters))
    assert not is_parameterwise(GroupNormalised(parameters, lr=0.1))
    assert not is_parameterwise(torch.optim.LBFGS(parameters))


SENTENCE = 'is not known to step every parameter by itself'


class Own(torch.optim.SGD):
    """Does nothing that SGD does not."""


def test_a_split_of_the_groups_of_an_unknown_class_is_said(capsys: Any) -> None:
    model = nn.ModuleDict(dict(backbone=nn.Linear(4, 4), head=nn.Linear(4, 4)))

    def said(kind: Any, **agvm: Any) -> bool:
        optimizer = kind(agvm.pop('groups', list(model.parameters())), lr=0.1)
        wrapper = AGVMOptimWrapper(optimizer, agvm=agvm, accumulative_counts=2)
        wrapper.initialize_count_status(model, 0, 2)
        output = capsys.readouterr()
        return SENTENCE in output.out + output.err

    assert said(Own)
    assert not said(torch.optim.SGD)
    assert not said(Own, apply=False)
    assert not said(Own, groups=[dict(params=part.parameters()) for part in model.values()])
    register_parameterwise(Own)
    assert not said(Own)


class FixedGroups(torch.optim.SGD):
    """Its groups are a property without a setter."""

    def __init__(self, parameters: Any, lr: float) -> None:
        self._groups: list[Any] = []
        super().__init__(parameters, lr)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__('_groups' if name == 'param_groups' else name, value)

    @property
    def param_groups(self) -> list[Any]:
        return self._groups


def test_groups_that_cannot_be_set_are_refused_and_clip_without_agvm() -> None:
    model = nn.ModuleDict(dict(backbone=nn.Linear(4, 4)))
    optimizer = FixedGroups(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match='type is FixedGroups, whose param_groups cannot be set'):
        LearningRatePlan(optimizer, {})
    wrapper = AGVMOptimWrapper(optimizer, agvm=None, clip_grad=dict(max_norm=1.0))
    wrapper.update_params(model['backbone'](torch.ones(1, 4)).sum())


class WithoutRate(torch.optim.SGD):
    """Calls its learning rate something else."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, lr=0.1)
        for group in self.param_groups:
            group['step_size'] = group.pop('lr')


def test_groups_without_a_learning_rate_are_refused() -> None:
    with pytest.raises(ValueError, match='WithoutRate, whose parameter groups have no `lr`'):
        LearningRatePlan(WithoutRate([nn.Parameter(torch.ones(2))]), {})
