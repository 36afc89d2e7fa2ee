"""MMEngine's runners on two real ranks: what they log, save, resume, average and compile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ranks import run_ranks
from runs import AGVM, DDP, PLAIN, build_runner, summary

import agvm_mm  # noqa: F401

MEASURING = dict(AGVM, agvm=dict(AGVM['agvm'], apply=False))
EMA = [dict(type='EMAHook', ema_type='ExponentialMovingAverage', momentum=0.1)]
BOTH = pytest.mark.parametrize('flexible', [False, True], ids=['Runner', 'FlexibleRunner'])
COUNTS = pytest.mark.parametrize('counts', [1, 2], ids=['one pass', 'two passes'])


def _train(rank: int, plan: list[dict[str, Any]]) -> list[dict[str, Any]]:
    results = []
    for run in plan:
        runner = build_runner(**run)
        runner.train()
        results.append(summary(runner))
    return results


def _run(*plan: dict[str, Any]) -> list[dict[str, Any]]:
    """The results of some runs, one after another, on two ranks; see :func:`build_runner`."""
    results = run_ranks(_train, 2, [dict(dict(epochs=4), **run) for run in plan])
    for run, first, second in zip(plan, *results):
        assert torch.equal(first['weights'], second['weights'])
        assert first['state'] == second['state']
        last = run['work_dir'] / f'epoch_{run.get("epochs", 4)}.pth'
        saved = torch.load(last, weights_only=False)
        state = saved['optimizer'].get('agvm')
        if state is not None:
            state = {**state, 'update': saved['optimizer']['updates']}
        assert state == first['state']
        first.update(ema=saved.get('ema_state_dict'), schedulers=saved['param_schedulers'])
    return results[0]


def _interrupted(folder: Path, **run: Any) -> list[dict[str, Any]]:
    """Four epochs; two epochs; two more after those."""
    return [
        dict(run, work_dir=folder / 'whole'),
        dict(run, work_dir=folder / 'half', epochs=2),
        dict(run, work_dir=folder / 'half', resume=True),
    ]


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b))
    if isinstance(a, tuple):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b))
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else bool(a == b)


@COUNTS
@BOTH
def test_a_run_logs_and_resumes_bitwise(flexible, counts, tmp_path):
    config = dict(AGVM, accumulative_counts=counts)
    whole, half, resumed = _run(*_interrupted(tmp_path, optim_wrapper=config, flexible=flexible))
    assert _same(whole, resumed) and not _same(half['weights'], whole['weights'])
    assert whole['state']['update'] == 16 // counts
    assert whole['state']['images'] == 8 * counts
    scales = [module['scale'] for module in whole['state']['modules'].values()]
    assert max(abs(scale - 1) for scale in scales) > 0.02, scales
    log = next(tmp_path.glob('whole/*/vis_data/scalars.json')).read_text()
    for name in ('phi/neck', 'scale/neck', 'neck.lr'):
        assert f'"agvm/{name}":' in log


@COUNTS
@BOTH
def test_a_plain_run_that_resumes_with_agvm_goes_on_counting(flexible, counts, tmp_path):
    """`begin` and `interval` count from the start of training, not from the resume."""
    common = dict(work_dir=tmp_path, flexible=flexible)
    plain, agvm = (dict(config, accumulative_counts=counts) for config in (PLAIN, AGVM))
    _, resumed = _run(
        dict(common, optim_wrapper=plain, epochs=2), dict(common, optim_wrapper=agvm, resume=True)
    )
    assert resumed['state']['update'] == 16 // counts
    assert resumed['state']['modules']['neck']['estimates'] == 4 // counts


@BOTH
def test_a_clipping_window_goes_on_counting_without_agvm(flexible, tmp_path):
    window = dict(AGVM, agvm=None, clip_grad=dict(max_norm=1e-3, begin=9, end=12))
    whole, _, resumed, free = _run(
        *_interrupted(tmp_path, optim_wrapper=window, flexible=flexible),
        dict(work_dir=tmp_path / 'free', optim_wrapper=PLAIN, flexible=flexible),
    )
    assert _same(whole, resumed) and not _same(whole['weights'], free['weights'])


def test_ema_averages_the_modulated_weights_and_changes_nothing_else(tmp_path):
    plain, measured, alone, whole, _, resumed = _run(
        dict(work_dir=tmp_path / 'plain', optim_wrapper=PLAIN, custom_hooks=EMA),
        dict(work_dir=tmp_path / 'measured', optim_wrapper=MEASURING, custom_hooks=EMA),
        dict(work_dir=tmp_path / 'alone', optim_wrapper=AGVM),
        *_interrupted(tmp_path, optim_wrapper=AGVM, custom_hooks=EMA),
    )
    for key in ('weights', 'ema', 'schedulers', 'momentum'):
        assert _same(plain[key], measured[key]), key
    for key in ('weights', 'state'):
        assert _same(alone[key], whole[key]), key
    assert not _same(whole['ema'], plain['ema'])
    assert _same(whole, resumed)


def test_activation_checkpointing_by_config_changes_nothing(tmp_path):
    usual, checkpointed = _run(
        dict(work_dir=tmp_path / 'usual', optim_wrapper=AGVM, epochs=1),
        dict(
            work_dir=tmp_path / 'checkpointed',
            optim_wrapper=AGVM,
            epochs=1,
            activation_checkpointing=['neck', 'head'],
        ),
    )
    assert _same(usual, checkpointed)


def test_compile_by_config_changes_nothing(tmp_path):
    usual, *compiled = _run(
        dict(work_dir=tmp_path / 'usual', optim_wrapper=AGVM, epochs=1),
        *(
            dict(
                work_dir=tmp_path / f'compiled_{i}',
                optim_wrapper=AGVM,
                epochs=1,
                flexible=flexible,
                compile=dict(backend='eager', **target),
            )
            for i, (flexible, target) in enumerate(
                [(False, {}), (True, dict(target='train_step')), (True, dict(target='forward'))]
            )
        ),
    )
    assert [_same(usual, run) for run in compiled] == [True] * 3


def test_options_of_the_data_parallel_wrapper_reach_it_through_a_strategy(tmp_path):
    views = dict(DDP, gradient_as_bucket_view=True)
    usual, optioned = _run(
        dict(work_dir=tmp_path / 'usual', optim_wrapper=AGVM, epochs=1, flexible=True),
        dict(
            work_dir=tmp_path / 'views',
            optim_wrapper=AGVM,
            epochs=1,
            flexible=True,
            strategy=dict(type='DDPStrategy', model_wrapper=views),
        ),
    )
    assert _same(usual, optioned)
