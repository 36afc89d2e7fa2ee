"""Every optimizer that MMEngine registers: it works with AGVM, or is refused in one sentence."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch._dynamo  # what ZeroRedundancyOptimizer imports, before the ranks are forked
from mmengine.model import BaseModel, MMDistributedDataParallel
from mmengine.optim import build_optim_wrapper
from mmengine.registry import OPTIMIZERS
from ranks import run_ranks
from torch import Tensor, nn

import agvm_mm  # noqa: F401
from agvm_mm.parts import AGVMPart

LR, UPDATES = 0.01, 4
ABSTRACT = {'Optimizer'}
REFUSED = {'LBFGS', 'ZeroRedundancyOptimizer'}
# Takes no dense gradient, with AGVM or without.
BROKEN = {'SparseAdam'}
# Reads the learning rate on its first step alone.
WITHOUT_RATE = {'Rprop'}
FROM_LIBRARY = {'AdanOptimizer', 'LARSOptimizer', 'SOAPOptimizer'}
# Needs to be told which parameters are matrices.
SPLIT = {'MuonOptimizer': 'MuonOptimWrapperConstructor'}

NAMES = sorted(
    name
    for name, kind in OPTIMIZERS.module_dict.items()
    if kind.__module__.split('.')[0] in ('torch', 'mmengine', 'agvm_mm')
)
WORKING = [n for n in NAMES if n not in ABSTRACT | REFUSED | BROKEN]

Step = tuple[list[tuple[float, list[int]]], list[Tensor]]


class Net(BaseModel):
    """Three modules of matrices, because Muon takes nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(6, 6, bias=False), nn.Tanh())
        self.neck = nn.Sequential(nn.Linear(6, 5, bias=False), nn.Tanh())
        self.head = nn.Linear(5, 3, bias=False)

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        scores = self.head(self.neck(self.backbone(inputs)))
        return dict(loss=nn.functional.cross_entropy(scores, data_samples))


def _data(step: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(step)
    return dict(
        inputs=torch.randn(3, 6, generator=generator),
        data_samples=torch.randint(0, 3, (3,), generator=generator),
    )


def _build(name: str, agvm: dict[str, Any] | None) -> tuple[Net, Any]:
    if name in FROM_LIBRARY:
        pytest.importorskip('pytorch_optimizer', reason=f'{name} comes from it')
    torch.manual_seed(0)
    model = Net()
    config = dict(
        type='AGVMOptimWrapper',
        constructor=SPLIT.get(name, 'DefaultOptimWrapperConstructor'),
        optimizer=dict(type=name, lr=LR),
        accumulative_counts=2,
        agvm=None if agvm is None else dict(interval=1, begin=1, momentum=0.5, **agvm),
    )
    return model, build_optim_wrapper(model, config)


def _watch(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter]) -> list[Step]:
    """Learning rates, by position of the parameter, and gradients of every step to come."""
    position = {id(parameter): i for i, parameter in enumerate(parameters)}
    steps: list[Step] = []
    step = optimizer.step

    def watched(*args: Any, **kwargs: Any) -> Any:
        groups = optimizer.param_groups
        rates = [(float(g['lr']), [position[id(p)] for p in g['params']]) for g in groups]
        steps.append((rates, [p.grad.clone() for p in parameters if p.grad is not None]))
        return step(*args, **kwargs)

    optimizer.step = watched  # type: ignore[method-assign]
    return steps


def _train(name: str, agvm: dict[str, Any] | None) -> tuple[Any, list[Tensor], list[Step]]:
    model, wrapper = _build(name, agvm)
    parameters = list(model.parameters())
    steps = _watch(wrapper.optimizer, parameters)
    wrapper.initialize_count_status(model, 0, 2 * UPDATES)
    for step in range(2 * UPDATES):
        model.train_step(_data(step), wrapper)
    return wrapper, [p.detach() for p in parameters], steps


def _replay(name: str, steps: list[Step]) -> list[Tensor]:
    """The bare optimizer with a group a module, on the rates and gradients of ``steps``."""
    torch.manual_seed(0)
    parameters = list(Net().parameters())
    matrices = dict(use_muon=True) if name in SPLIT else {}
    groups = [dict(params=[parameter], **matrices) for parameter in parameters]
    optimizer = OPTIMIZERS.build(dict(type=name, params=groups, lr=LR))
    for rates, gradients in steps:
        for rate, positions in rates:
            for i in positions:
                optimizer.param_groups[i]['lr'] = rate
        for parameter, gradient in zip(parameters, gradients):
            parameter.grad = gradient
        optimizer.step()
    return [parameter.detach() for parameter in parameters]


def _same(left: list[Tensor], right: list[Tensor]) -> bool:
    assert len(left) == len(right) == 3
    return all(torch.equal(a, b) for a, b in zip(left, right))


@pytest.mark.parametrize('name', WORKING)
def test_modulated_is_a_group_a_module_with_scaled_rates(name):
    """Bit for bit; measuring alone is the plain wrapper; schedulers see the base rate."""
    _, plain, _ = _train(name, None)
    wrapper, modulated, steps = _train(name, {})
    scales = wrapper.part(AGVMPart).scales(wrapper.updates)
    assert scales[0] == 1.0 and max(abs(scale - 1) for scale in scales) > 0.01
    last = {i: rate for rate, positions in steps[-1][0] for i in positions}
    assert [last[i] for i in range(3)] == pytest.approx([LR * scale for scale in scales])
    assert [float(group['lr']) for group in wrapper.optimizer.param_groups] == [LR]
    assert _same(modulated, _replay(name, steps))
    assert _same(modulated, plain) is (name in WITHOUT_RATE)
    assert _same(_train(name, dict(apply=False))[1], plain)


@pytest.mark.parametrize('name', sorted(BROKEN))
def test_what_fails_without_agvm_fails_with_it_in_the_same_words(name):
    with pytest.raises(RuntimeError) as plain:
        _train(name, None)
    with pytest.raises(RuntimeError) as modulated:
        _train(name, {})
    assert str(modulated.value) == str(plain.value)


def _refusal(rank: int, optimizer: dict[str, Any]) -> str:
    model = MMDistributedDataParallel(Net())
    config = dict(type='AGVMOptimWrapper', optimizer=copy.deepcopy(optimizer))
    wrapper = build_optim_wrapper(model, config)
    with pytest.raises(ValueError) as refusal:
        wrapper.initialize_count_status(model, 0, 10)
    return str(refusal.value)


@pytest.mark.parametrize('name', sorted(REFUSED))
def test_an_optimizer_with_groups_of_its_own_is_refused_at_the_start(name):
    options = dict(optimizer_type='AdamW') if name == 'ZeroRedundancyOptimizer' else {}
    for sentence in run_ranks(_refusal, 2, dict(type=name, lr=LR, **options)):
        assert sentence.startswith(f'optim_wrapper.optimizer.type is {name}, which keeps its own')
        assert sentence.endswith('.') and '\n' not in sentence


def test_the_exceptions_are_registered_and_the_rest_is_not_empty():
    assert ABSTRACT | REFUSED | BROKEN | WITHOUT_RATE <= set(NAMES)
    known = {'SGD', 'AdamW', 'ASGD', 'LAMBOptimizer', *FROM_LIBRARY, *SPLIT}
    assert known <= set(WORKING)
