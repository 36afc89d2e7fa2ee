"""Loops that MMEngine's runners do not make."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from runs import ThreePartNet, data

import agvm_mm  # noqa: F401
from agvm_mm.parts import AGVMPart, KFACPart


def prepared(total: int, **config: Any) -> tuple[Any, Any]:
    torch.manual_seed(0)
    model = ThreePartNet()
    options = dict(
        type='AGVMOptimWrapper',
        optimizer=dict(type='SGD', lr=0.05),
        accumulative_counts=2,
        agvm=dict(interval=1),
    )
    wrapper = build_optim_wrapper(model, {**options, **config})
    wrapper.initialize_count_status(model, 0, total)
    return model, wrapper


@pytest.mark.parametrize('total', [-1, 6, 7])
def test_a_run_of_unknown_length_estimates(total: int) -> None:
    model, wrapper = prepared(total)
    for step in range(6):
        model.train_step(data(0, step), wrapper)
    assert wrapper.updates == 3
    state = wrapper.part(AGVMPart).state_dict()['modules']
    assert all(module['estimates'] == 3 for module in state.values())


def test_a_step_inside_a_captured_graph_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model, wrapper = prepared(-1, accumulative_counts=1, agvm=None, join_groups=True)
    model.train_step(data(0, 0), wrapper)
    monkeypatch.setattr('torch.cuda.is_initialized', lambda: True)
    capturing = [True]
    monkeypatch.setattr('torch.cuda.is_current_stream_capturing', lambda: capturing[0])
    with pytest.raises(RuntimeError, match='is stepping while a CUDA graph is captured, which'):
        model.train_step(data(0, 1), wrapper)
    capturing[0] = False
    model.train_step(data(0, 1), wrapper)
    assert wrapper.updates == 2


def test_a_state_loaded_after_meeting_the_model_takes_effect_at_once() -> None:
    """K-FAC measures on even updates; the loaded clock says 3."""
    kfac = dict(statistics_interval=2, inverse_interval=2, growing_intervals=False)
    model, wrapper = prepared(-1, accumulative_counts=1, agvm=None, kfac=kfac)
    for step in range(3):
        model.train_step(data(0, step), wrapper)
    _, other = prepared(-1, accumulative_counts=1, agvm=None, kfac=kfac)
    assert other.part(KFACPart).preconditioner.due
    other.load_state_dict(wrapper.state_dict())
    assert not other.part(KFACPart).preconditioner.due
