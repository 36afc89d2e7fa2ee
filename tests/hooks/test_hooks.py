"""The table of modules and the seeds that survive a resume."""

from __future__ import annotations

import random
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper, build_optim_wrapper
from networks import ReplayNet
from ranks import run_ranks

from agvm_mm import AGVMOptimWrapper
from agvm_mm.hooks import SeedEpochHook, VarianceTableHook
from agvm_mm.hooks.seed_epoch import STRIDE
from agvm_mm.hooks.variance_table import render
from agvm_mm.parts import AGVMPart


def _trained(updates: int) -> Any:
    model = ReplayNet(dict(backbone=1000, neck=20), torch.zeros(1020))
    wrapper = build_optim_wrapper(
        model,
        dict(
            type='AGVMOptimWrapper',
            optimizer=dict(type='SGD', lr=0.1),
            accumulative_counts=2,
            agvm=dict(interval=1),
        ),
    )
    wrapper.initialize_count_status(model, 0, 100)
    spread = torch.cat([torch.full((1000,), 3.0), torch.full((20,), 0.3)])
    for step in range(2 * updates):
        generator = torch.Generator().manual_seed(step)
        gradient = 0.5 + spread * torch.randn(1020, generator=generator)
        model.train_step(dict(inputs=[gradient]), wrapper)
    return wrapper


def _cells(text: str, module: str) -> list[str]:
    row = next(line for line in text.splitlines() if module in line)
    return [cell.strip() for cell in row.strip('│┃ ').replace('┃', '│').split('│')]


def test_the_table_holds_what_the_modulator_knows():
    wrapper = _trained(3)
    rows = wrapper.part(AGVMPart).rows(wrapper.updates)
    phi = wrapper.part(AGVMPart).state.phi
    cells = _cells(render('title', rows), 'backbone')
    assert cells[:2] == ['backbone', '1,000'] and cells[2] == f'{phi[0]:.3f}'
    low, high = (ends[0] for ends in wrapper.part(AGVMPart).phi_ends)
    assert cells[3] == f'{low:.3f} to {high:.3f}' and low < phi[0] < high
    assert cells[5:] == ['1.000', '0.1']
    cells = _cells(render('title', rows), 'neck')
    scale = wrapper.part(AGVMPart).scales(wrapper.updates)[1]
    noise_scale = 0.5 * 2 * phi[1] / (1 - phi[1])
    assert cells[4] == f'{noise_scale:.1f}'
    assert cells[5] == f'{scale:.3f}' and cells[6] == f'{0.1 * scale:.3g}'


def test_what_was_not_measured_is_a_dash():
    wrapper = _trained(0)
    cells = _cells(render('title', wrapper.part(AGVMPart).rows(wrapper.updates)), 'neck')
    assert cells[2:5] == ['-', '-', '-'] and cells[5] == '1.000'


def test_the_table_is_logged_every_interval_and_at_the_end(caplog):
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    runner = SimpleNamespace(optim_wrapper=_trained(1), epoch=0)
    hook = VarianceTableHook(interval=2)
    hook.after_train_epoch(runner)
    assert 'noise scale' not in caplog.text
    runner.epoch = 1
    hook.after_train_epoch(runner)
    assert caplog.text.count('AGVM after 1 update ') == 1
    hook.after_train(runner)  # the table of this update is there already
    assert caplog.text.count('AGVM after') == 1
    texts: list[tuple[Any, ...]] = []
    board = SimpleNamespace(experiment=SimpleNamespace(add_text=lambda *text: texts.append(text)))
    backends = {'TensorboardVisBackend': board}
    runner.visualizer = SimpleNamespace(_vis_backends=backends, get_backend=backends.get)
    runner.optim_wrapper, runner.iter = _trained(2), 4
    hook.after_train(runner)
    assert caplog.text.count('AGVM after 2 updates') == 1
    ((name, verdict, step),) = texts
    assert (name, step) == ('agvm/verdict', 4) and verdict.startswith('backbone: batch 2 is')
    assert all(line in caplog.text for line in verdict.split('\n\n'))
    logger.removeHandler(caplog.handler)


def test_a_run_without_agvm_has_no_table(caplog):
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    hook = VarianceTableHook(interval=1)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    for wrapper in (OptimWrapper(optimizer), AGVMOptimWrapper(optimizer, agvm=None)):
        runner = SimpleNamespace(optim_wrapper=wrapper, epoch=0)
        hook.after_train_epoch(runner)
        hook.after_train(runner)
    logger.removeHandler(caplog.handler)
    assert caplog.text == ''


@pytest.mark.parametrize('interval', [0, '2', True, 1.5])
def test_a_wrong_interval_is_named(interval):
    sentence = f'VarianceTableHook.interval is {interval!r}; allowed is None or'
    with pytest.raises(ValueError, match=re.escape(sentence)):
        VarianceTableHook(interval=interval)


def _drawn(seed: int, epoch: int) -> tuple[float, float, float]:
    runner = SimpleNamespace(seed=seed, epoch=epoch)
    SeedEpochHook().before_train_epoch(runner)
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_random_numbers_depend_on_the_epoch_alone():
    first, second = _drawn(0, 3), _drawn(0, 4)
    torch.rand(17)
    assert _drawn(0, 3) == first
    assert all(a != b for a, b in zip(first, second))
    assert all(a != b for a, b in zip(first, _drawn(1, 3)))


def test_ranks_draw_differently():
    """And none of them what a rank has drawn in another epoch."""
    drawn = run_ranks(lambda rank: [_drawn(0, epoch) for epoch in (1, 2)], 3)
    numbers = [number for rank in drawn for epoch in rank for number in epoch]
    assert len(set(numbers)) == len(numbers) == 18
    assert STRIDE > 10_000  # more than any number of ranks
