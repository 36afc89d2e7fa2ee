"""``torch.compile`` changes no number, and compiles none of AGVM's own code."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._dynamo
from compiler import needs_harmless_compiler
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import build_optim_wrapper
from ranks import run_ranks
from runs import AGVM, ThreePartNet, data
from torch import Tensor, nn

import agvm_mm
from agvm_mm.parts import AGVMPart

pytestmark = needs_harmless_compiler

PACKAGE = str(Path(agvm_mm.__file__).parent)


def _model() -> ThreePartNet:
    torch.manual_seed(0)
    return ThreePartNet()


def _train(
    model: nn.Module, config: dict[str, Any], rank: int = 0, updates: int = 4
) -> tuple[Tensor, dict[str, Any]]:
    wrapper = build_optim_wrapper(model, copy.deepcopy(config))
    counts = config.get('accumulative_counts', 1)
    wrapper.initialize_count_status(model, 0, updates * counts)
    for step in range(updates * counts):
        model.train_step(data(rank, step), wrapper)
    weights = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
    return weights, wrapper.part(AGVMPart).state_dict()


def _config(estimator: str, counts: int) -> dict[str, Any]:
    agvm = dict(AGVM['agvm'], estimator=estimator)
    return dict(AGVM, accumulative_counts=counts, clip_grad=dict(max_norm=1.0), agvm=agvm)


class Recorder:
    """A backend that runs graphs as they are and keeps the files their code came from."""

    def __init__(self) -> None:
        self.graphs = 0
        self.traces = ''

    def __call__(self, graph: torch.fx.GraphModule, example_inputs: Any) -> Any:
        self.graphs += 1
        self.traces += ''.join(node.stack_trace or '' for node in graph.graph.nodes)
        return graph.forward


@pytest.mark.parametrize('estimator', ['all_pairs', 'half_split'])
def test_a_compiled_train_step_leaves_agvm_out_of_its_graphs(estimator):
    config = _config(estimator, 2)
    usual = _train(_model(), config)
    torch._dynamo.reset()
    recorder, model = Recorder(), _model()
    model.train_step = torch.compile(model.train_step, backend=recorder)
    compiled = _train(model, config)
    assert torch.equal(usual[0], compiled[0]) and usual[1] == compiled[1]
    assert 'in forward' in recorder.traces and f'File "{PACKAGE}' not in recorder.traces
    assert recorder.graphs <= 3, 'graphs of the model alone'


def _on_two_ranks(rank: int, how: str, config: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
    model: Any = _model()
    if how == 'inside':
        model = torch.compile(model, backend='aot_eager')
    model = MMDistributedDataParallel(model, broadcast_buffers=False)
    if how == 'outside':
        model = torch.compile(model, backend='aot_eager')
    elif how == 'train_step':
        model.train_step = torch.compile(model.train_step, backend='aot_eager')
    return _train(model, config, rank)


@pytest.mark.parametrize('how', ['inside', 'outside', 'train_step'])
def test_compiling_inside_or_outside_of_the_data_parallel_wrapper_changes_nothing(how):
    config = _config('all_pairs', 1)
    usual = run_ranks(_on_two_ranks, 2, 'not', config)
    compiled = run_ranks(_on_two_ranks, 2, how, config)
    assert list(compiled[0][1]['modules']) == ['backbone', 'neck', 'head']
    for (weights, state), (other_weights, other_state) in zip(usual, compiled):
        assert torch.equal(weights, other_weights) and state == other_state


@pytest.mark.slow
def test_inductor_gives_the_same_scales_to_rounding():
    config = _config('all_pairs', 2)
    weights, state = _train(_model(), config)
    torch._dynamo.reset()
    model = _model()
    model.forward = torch.compile(model.forward)
    compiled_weights, compiled_state = _train(model, config)
    assert torch.allclose(weights, compiled_weights, atol=1e-5)
    for name, module in state['modules'].items():
        assert compiled_state['modules'][name]['scale'] == pytest.approx(module['scale'], rel=1e-4)


def test_importing_the_package_does_not_import_the_compiler():
    def imported_by(package: str) -> bool:
        code = f'import sys, {package}; print("torch._dynamo" in sys.modules)'
        command = [sys.executable, '-c', code]
        cwd = Path(PACKAGE).parent
        done = subprocess.run(command, check=True, cwd=cwd, capture_output=True, text=True)
        return done.stdout.strip() == 'True'

    if imported_by('mmengine.optim'):
        pytest.skip('this MMEngine imports the compiler itself')
    assert not imported_by('agvm_mm')
