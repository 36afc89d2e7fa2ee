"""Set-ups that cannot work stop at the start with one sentence that says why and where."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch._dynamo  # what DistributedDataParallel imports, before the ranks are forked
from mmengine._strategy import ColossalAIStrategy, DeepSpeedStrategy
from mmengine._strategy import deepspeed as deepspeed_strategy
from mmengine.model import MMDistributedDataParallel, MMSeparateDistributedDataParallel
from mmengine.optim import OptimWrapperDict, build_optim_wrapper
from mmengine.registry import MODEL_WRAPPERS
from networks import ReplayNet
from ranks import run_ranks
from runs import AGVM, build_runner
from torch import nn
from torch.distributed.optim import ZeroRedundancyOptimizer

from agvm_mm import AGVMOptimWrapper
from agvm_mm.parts import AGVMPart, LearningRatePlan

SIZES = dict(backbone=4, neck=4)


def _net() -> ReplayNet:
    return ReplayNet(SIZES, torch.zeros(8))


def _sentence(call: Callable[[], Any]) -> str:
    with pytest.raises(ValueError) as caught:
        call()
    assert '\n' not in str(caught.value)
    return str(caught.value)


def _refusal(model: nn.Module, optimizer: Any = None, counts: int = 2, **agvm: Any) -> str:
    """What binding to ``model`` says."""
    if optimizer is None:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wrapper = AGVMOptimWrapper(optimizer, accumulative_counts=counts, agvm=agvm)
    return _sentence(lambda: wrapper.initialize_count_status(model, 0, 10))


def _fsdp() -> str:
    from torch.distributed.fsdp import FullyShardedDataParallel

    return _refusal(FullyShardedDataParallel(_net(), device_id=torch.device('cpu')))


def _fully_shard(**agvm: Any) -> str:
    try:
        from torch.distributed.fsdp import fully_shard
    except ImportError:
        pytest.skip('torch.distributed.fsdp has fully_shard since 2.6')
    from torch.distributed.device_mesh import init_device_mesh

    net = _net()
    fully_shard(net, mesh=init_device_mesh('cpu', (2,)))
    return _refusal(net, **agvm)


def _wrapped_inside() -> str:
    net = _net()
    net.neck = MMDistributedDataParallel(net.neck)
    return _refusal(net)


def _mixed_precision() -> str:
    from torch.nn.parallel.distributed import _MixedPrecision

    precision = _MixedPrecision(param_dtype=torch.bfloat16)
    try:
        model = MMDistributedDataParallel(_net(), mixed_precision=precision)
    except RuntimeError as error:
        # torch 2.1, and torch 2.14 built for CUDA
        if not re.search('CUDA|create a new Stream', str(error)):
            raise
        pytest.skip('DDP of this torch has mixed precision on GPUs alone')
    return _refusal(model)


def _zero() -> str:
    model = MMDistributedDataParallel(_net())
    return _refusal(model, ZeroRedundancyOptimizer(model.parameters(), torch.optim.SGD, lr=0.1))


ON_RANKS = {
    'fsdp': (_fsdp, 'wrapped in FullyShardedDataParallel, which leaves every rank a shard'),
    'fully_shard': (
        lambda: _fully_shard(estimator='half_split'),
        "the parameter 'backbone.weight' is a DTensor, which fully_shard and tensor parallelism",
    ),
    'separate': (
        lambda: _refusal(MMSeparateDistributedDataParallel(_net(), broadcast_buffers=False)),
        'MMSeparateDistributedDataParallel, which wraps every child separately, for several '
        'optimizers;',
    ),
    'inside': (
        _wrapped_inside,
        "'neck' has its own MMDistributedDataParallel; AGVM works with one "
        'MMDistributedDataParallel around the whole model',
    ),
    'bare': (
        lambda: _refusal(_net()),
        '2 processes train this model without a data-parallel wrapper, so AGVM cannot tell '
        'how its gradients are averaged;',
    ),
    'mixed_precision': (
        _mixed_precision,
        'MMDistributedDataParallel was given mixed_precision, which trains on cast copies of '
        'the parameters; use AGVMAmpOptimWrapper or PartsAmpOptimWrapper',
    ),
    'static_graph': (
        lambda: _refusal(MMDistributedDataParallel(_net(), static_graph=True)),
        'has static_graph=True and optim_wrapper.accumulative_counts is 2, and torch fails on the',
    ),
    'zero': (_zero, 'type is ZeroRedundancyOptimizer, which keeps its own copy'),
}


@pytest.mark.parametrize('kind', ON_RANKS)
def test_on_two_ranks(kind):
    refuse, sentence = ON_RANKS[kind]
    for found in run_ranks(lambda rank: refuse(), 2):
        assert sentence in found


def _fsdp_strategy(rank: int, work_dir: Path) -> str:
    wrapper = dict(type='MMFullyShardedDataParallel', device_id=torch.device('cpu'))
    strategy = dict(type='FSDPStrategy', model_wrapper=wrapper)
    runner = build_runner(work_dir, AGVM, 1, flexible=True, strategy=strategy)
    sentence = _sentence(runner.train)
    assert runner.iter == 0
    return sentence


def test_fsdp_by_its_strategy(tmp_path):
    for found in run_ranks(_fsdp_strategy, 2, tmp_path):
        assert 'wrapped in MMFullyShardedDataParallel, which leaves every rank a shard' in found
        assert (
            'AGVM works with MMDistributedDataParallel (model_wrapper_cfg.type, or '
            "strategy.type='DDPStrategy')" in found
        )


def test_data_parallel_of_one_process():
    sentence = (
        'wrapped in DataParallel, which adds up the gradients of its replicas before they can'
    )
    assert sentence in _refusal(nn.DataParallel(_net()))


def test_a_wrapper_that_nobody_knows():
    class HomeMade(nn.Module):
        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self.module = module

    MODEL_WRAPPERS.register_module(module=HomeMade)
    try:
        found = _refusal(HomeMade(_net()))
    finally:
        MODEL_WRAPPERS.module_dict.pop('HomeMade')
    assert 'wrapped in HomeMade, and it is not known how that averages gradients' in found


def test_sparse_embeddings():
    net = _net()
    net.neck = nn.Embedding(4, 2, sparse=True)
    assert "'neck' is an embedding with sparse gradients" in _refusal(net)


class _Student(nn.Module):
    """A detector inside another module, as a semi-supervised one has it."""

    def __init__(self) -> None:
        super().__init__()
        self.student = _net()
        self.teacher = _net().requires_grad_(False)


@pytest.mark.parametrize('agvm', [dict(), dict(anchor='student'), dict(apply=False)])
def test_a_model_of_one_module_points_to_its_parts(agvm):
    found = _refusal(_Student(), modules='children', **agvm)
    assert "all trainable parameters are in one module, 'student', so AGVM has no other" in found
    modules = dict(backbone=['student.backbone'], neck=['student.neck'])
    assert f'name the parts in optim_wrapper.agvm.modules, such as {modules}, and' in found
    model = _Student()
    wrapper = AGVMOptimWrapper(
        torch.optim.SGD(model.parameters(), lr=0.1),
        accumulative_counts=2,
        agvm=dict(modules=modules),
    )
    wrapper.initialize_count_status(model, 0, 10)
    assert wrapper.part(AGVMPart).partition.names == ('backbone', 'neck')


def test_by_default_a_student_is_opened():
    model = _Student()
    wrapper = AGVMOptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1), accumulative_counts=2)
    wrapper.initialize_count_status(model, 0, 10)
    part = wrapper.part(AGVMPart)
    assert part.partition.names == ('student.backbone', 'student.neck')
    assert part.anchor == 'student.backbone'
    assert "anchor is 'student', which is not a module" in _refusal(_Student(), anchor='student')


def test_one_module_may_be_measured():
    model = _Student()
    wrapper = AGVMOptimWrapper(
        torch.optim.SGD(model.parameters(), lr=0.1),
        accumulative_counts=2,
        agvm=dict(anchor='student', modules='children', apply=False),
    )
    wrapper.initialize_count_status(model, 0, 10)
    assert wrapper.part(AGVMPart).partition.names == ('student',)


def test_lbfgs():
    net = _net()
    found = _refusal(net, torch.optim.LBFGS(net.parameters()))
    assert 'type is LBFGS, which keeps its own copy of the parameter groups' in found


@pytest.mark.parametrize('kind', ['Lookahead', 'SAM', 'ScheduleFreeWrapper', 'TRAC', 'OrthoGrad'])
def test_optimizers_round_another(kind):
    library = pytest.importorskip('pytorch_optimizer', reason='they come from it')
    net = _net()
    if kind == 'SAM':
        optimizer = library.SAM(net.parameters(), torch.optim.SGD, lr=0.1)
    else:
        optimizer = getattr(library, kind)(torch.optim.SGD(net.parameters(), lr=0.1))
    found = _refusal(net, optimizer)
    assert f'type is {kind}, which wraps another optimizer' in found and ': SGD)' in found


def test_several_optimizers():
    net = _net()
    members = {
        name: AGVMOptimWrapper(
            torch.optim.SGD(getattr(net, name).parameters(), lr=0.1),
            accumulative_counts=2,
            agvm=dict(anchor=name),
        )
        for name in SIZES
    }
    wrappers = OptimWrapperDict(**members)
    refusal = pytest.raises(ValueError, match='AGVM needs one optimizer for the whole model')
    with refusal, wrappers['backbone'].optim_context(net):
        pass


def _prepare(strategy: Any) -> str:
    """What MMEngine's own ``prepare`` comes to, on a strategy that has set up no environment."""
    strategy.__dict__.update(_prepared=False, dispatch_kwargs={}, config={}, _inputs_to_half=None)
    strategy._auto_scale_lr, strategy._scale_lr = None, lambda: None
    config = dict(AGVM, accumulative_counts=2)
    return _sentence(
        lambda: strategy.prepare(_net(), optim_wrapper=config, dispatch_kwargs=dict(max_iters=4))
    )


def test_deepspeed_by_its_strategy(monkeypatch):
    engine = SimpleNamespace(initialize=lambda model, optimizer, config: (model, optimizer))
    monkeypatch.setattr(deepspeed_strategy, 'deepspeed', engine)
    found = _prepare(DeepSpeedStrategy.__new__(DeepSpeedStrategy))
    assert 'strategy.type is DeepSpeedStrategy, whose engine runs the backward pass' in found


def test_colossalai_by_its_strategy():
    found = _prepare(ColossalAIStrategy.__new__(ColossalAIStrategy))
    assert 'The type of `optim_wrapper` must be `ColossalAIOptimWrapper`' in found


def test_the_wrapper_is_built_from_the_public_config_too():
    with pytest.raises(ValueError, match=r'agvm\.anchor is 3; allowed is the name of a module'):
        build_optim_wrapper(
            _net(),
            dict(type='AGVMOptimWrapper', optimizer=dict(type='SGD', lr=0.1), agvm=dict(anchor=3)),
        )


class _Annealing(torch.optim.SGD):
    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            group['lr'] *= 0.9
        return super().step(closure)


def test_an_optimizer_that_changes_its_learning_rate():
    optimizer = _Annealing(_net().parameters(), lr=0.1)
    refusal = pytest.raises(
        RuntimeError, match='changed `lr` in its parameter groups during step.., which AGVM cannot'
    )
    with refusal, LearningRatePlan(optimizer, {}).scaled([2.0]):
        optimizer.step()
