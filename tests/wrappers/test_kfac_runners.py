"""K-FAC and AGVM together under MMEngine's own runners on two ranks: resume is bitwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook
from ranks import run_ranks
from runs import build_runner, summary

KFAC_RUNNER = dict(
    type='AGVMOptimWrapper',
    optimizer=dict(type='SGD', lr=0.05, momentum=0.9),
    agvm=dict(interval=2, begin=1, momentum=0.5),
    kfac=dict(momentum=0.7, statistics_interval=2, inverse_interval=4, damping=0.1),
)


def _runner(rank: int, folder: Path, hook: bool, flexible: bool) -> Any:
    hooks = [dict(type='KFACStateHook')] if hook else None
    common = dict(epochs=3, flexible=flexible, custom_hooks=hooks)
    whole = build_runner(folder / 'whole', KFAC_RUNNER, **common)
    whole.train()
    file = folder / 'whole' / 'epoch_2.pth'
    resumed = build_runner(
        folder / 'resumed', KFAC_RUNNER, load_from=str(file), resume=True, **common
    )
    resumed.train()
    saved = torch.load(file, weights_only=False)['optimizer']['kfac'] if rank == 0 else None
    return summary(whole), summary(resumed), saved


def _preconditioned(rank: int, folder: Path) -> Any:
    agvm = dict(interval=1, momentum=0.5, estimator='half_split', precondition='kfac')
    KFAC_RUNNER['agvm'] = agvm
    return _runner(rank, folder, True, False)[:2]


def test_a_measurement_in_its_geometry_resumes(tmp_path: Path) -> None:
    whole, resumed = run_ranks(_preconditioned, 2, tmp_path)[0]
    assert torch.equal(whole['weights'], resumed['weights'])
    assert whole['state'] == resumed['state']


@pytest.mark.parametrize('flexible', [False, True], ids=['runner', 'flexible'])
def test_both_runners_save_the_factors_of_all_ranks(tmp_path: Path, flexible: bool) -> None:
    whole, resumed, saved = run_ranks(_runner, 2, tmp_path, True, flexible)[0]
    assert all('factors' in entry for entry in saved['layers'].values())
    assert torch.equal(whole['weights'], resumed['weights'])
    assert whole['state'] == resumed['state']


def test_without_the_hook_factors_are_measured_anew(tmp_path: Path) -> None:
    whole, resumed, saved = run_ranks(_runner, 2, tmp_path, False, False)[0]
    assert not any('factors' in entry for entry in saved['layers'].values())
    assert resumed['weights'].isfinite().all()
    assert not torch.equal(whole['weights'], resumed['weights'])


class _Weights(Hook):
    """Those after every iteration."""

    def __init__(self) -> None:
        self.found: list[Any] = []

    def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        self.found.append([p.detach().clone() for p in runner.model.module.parameters()])


def _averaged(rank: int, folder: Path) -> Any:
    weights = _Weights()
    plain = build_runner(folder / 'plain', KFAC_RUNNER, epochs=2)
    plain.train()
    hooks = [dict(type='EMAHook', momentum=0.25)]
    ours = build_runner(folder / 'averaged', KFAC_RUNNER, epochs=2, custom_hooks=hooks)
    ours.register_hook(weights)
    ours.train()
    average = next(hook for hook in ours.hooks if type(hook).__name__ == 'EMAHook').ema_model
    return summary(plain), summary(ours), weights.found, list(average.module.parameters())


def test_an_average_of_the_weights(tmp_path: Path) -> None:
    """It is a copy of the model, with K-FAC's hooks, and changes nothing of the training."""
    plain, ours, weights, average = run_ranks(_averaged, 2, tmp_path)[0]
    assert torch.equal(plain['weights'], ours['weights']) and plain['state'] == ours['state']
    expected = weights[0]
    for step in weights[1:]:
        expected = [0.75 * old + 0.25 * new for old, new in zip(expected, step)]
    for found, one in zip(average, expected, strict=True):
        torch.testing.assert_close(found.detach(), one, rtol=1e-5, atol=1e-6)
