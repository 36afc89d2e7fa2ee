"""--auto-scale-lr: the learning rate follows the batch of an update, and only once."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import launch_toy
import pytest
from mmengine.config import Config
from mmengine.optim import PolyLR

from agvm_mm.launch.errors import LaunchError
from agvm_mm.launch.runner import TrainOptions, build_runner, prepare_training

SCALE = TrainOptions(auto_scale_lr=True)


def recipe(**overrides: Any) -> Config:
    entries: dict[str, Any] = dict(
        work_dir='unused',
        launcher='none',
        train_dataloader=dict(batch_size=2),
        train_cfg=dict(by_epoch=False, max_iters=6),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.02, weight_decay=0.1)),
        auto_scale_lr=dict(enable=False, base_batch_size=16),
    )
    return Config({**entries, **overrides})


def scaled(cfg: Config, options: TrainOptions = SCALE) -> tuple[float, list[str]]:
    notes = prepare_training(cfg, options)
    return cfg.optim_wrapper.optimizer.lr, [note.text for note in notes]


def accumulating(counts: int) -> dict[str, Any]:
    return dict(accumulative_counts=counts, optimizer=dict(type='SGD', lr=0.02))


def test_follows_the_effective_batch() -> None:
    lr, notes = scaled(recipe(optim_wrapper=accumulating(32)))
    assert lr == pytest.approx(0.08)
    assert notes == ['lr 0.02 -> 0.08 (linear, effective batch 64 over base 16)']


def test_scales_down_as_well() -> None:
    assert scaled(recipe())[0] == pytest.approx(0.0025)


def test_counts_the_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('WORLD_SIZE', '8')
    monkeypatch.setattr('agvm_mm.launch.runner.prepare_cpu', lambda cfg: [])
    cfg = recipe(launcher='pytorch', optim_wrapper=accumulating(2))
    assert scaled(cfg)[0] == pytest.approx(0.04)


def test_the_base_batch_changes_nothing() -> None:
    lr, notes = scaled(recipe(optim_wrapper=accumulating(8)))
    assert lr == 0.02
    assert notes == ['lr 0.02 kept: effective batch 16 is the base batch']


@pytest.mark.parametrize(
    ('schedule', 'named'),
    [
        (dict(type='OneCycleLR', eta_max=0.02), 'eta_max=0.02 (OneCycleLR)'),
        (
            dict(type='mmengine.CosineAnnealingLR', eta_min=1e-3),
            'eta_min=0.001 (CosineAnnealingLR)',
        ),
        (dict(type=PolyLR, eta_min=1e-4, power=0.9), 'eta_min=0.0001 (PolyLR)'),
        (dict(type='ReduceOnPlateauLR', min_value=1e-5), 'min_value=1e-05 (ReduceOnPlateauLR)'),
    ],
)
def test_a_schedule_with_a_rate_of_its_own_is_named(schedule: dict[str, Any], named: str) -> None:
    """It is not scaled, and no line says so."""
    warmup = dict(type='LinearLR', start_factor=0.1, end=2)
    cfg = recipe(optim_wrapper=accumulating(32), param_scheduler=[warmup, schedule])
    (note,) = prepare_training(cfg, SCALE)
    assert note.level == logging.WARNING and '->' not in note.text
    assert note.text == (
        '--auto-scale-lr multiplies optim_wrapper.optimizer.lr=0.02 by 4 (effective batch 64 over '
        f'base 16) and leaves the rates of the schedules as they are written: param_scheduler[1].'
        f'{named}; multiply them by the same number in the config.'
    )


@pytest.mark.parametrize(
    'schedule',
    [
        dict(type='CosineAnnealingLR', eta_min=0),
        dict(type='CosineAnnealingLR', eta_min_ratio=0.05),
        dict(type='CosineAnnealingMomentum', eta_min=0.85),
        dict(type='LinearLR', start_factor=0.1),
    ],
)
def test_a_relative_schedule_is_scaled_with_the_rate(schedule: dict[str, Any]) -> None:
    cfg = recipe(optim_wrapper=accumulating(32), param_scheduler=[schedule])
    assert scaled(cfg)[1] == ['lr 0.02 -> 0.08 (linear, effective batch 64 over base 16)']
    cfg = recipe(optim_wrapper=accumulating(8), param_scheduler=dict(type='OneCycleLR', eta_max=1))
    assert scaled(cfg)[1] == ['lr 0.02 kept: effective batch 16 is the base batch']


def test_only_the_learning_rate_changes() -> None:
    cfg = recipe()
    scaled(cfg)
    assert cfg.optim_wrapper.optimizer.weight_decay == 0.1


def test_without_the_flag_nothing_changes() -> None:
    assert scaled(recipe(), TrainOptions()) == (0.02, [])


def test_a_config_that_switches_it_on_is_scaled_here() -> None:
    cfg = recipe(auto_scale_lr=dict(enable=True, base_batch_size=4))
    assert scaled(cfg, TrainOptions())[0] == pytest.approx(0.01)
    assert cfg.auto_scale_lr.enable is False


def test_a_written_config_is_not_scaled_again() -> None:
    cfg = recipe(optim_wrapper=accumulating(32))
    scaled(cfg)
    lr, (note,) = scaled(cfg)
    assert lr == pytest.approx(0.08)
    assert 'kept' in note
    # On other ranks it goes on from there, to what the original config would have got.
    cfg.train_dataloader.batch_size = 4
    assert scaled(cfg)[0] == pytest.approx(0.16)


def test_goes_with_a_total_batch_on_the_command_line() -> None:
    lr, notes = scaled(recipe(), TrainOptions(auto_scale_lr=True, total_batch_size=64))
    assert lr == pytest.approx(0.08)
    assert notes[0] == 'total batch 64 = 1 rank x 2 images x 32 micro-batches'


def test_a_recipe_for_its_total_batch_is_refused() -> None:
    for base in (None, 64):
        cfg = recipe(total_batch_size=64, auto_scale_lr=dict(base_batch_size=base))
        with pytest.raises(LaunchError, match='written for total_batch_size=64 already'):
            scaled(cfg)


def test_a_recipe_scales_to_another_total_batch() -> None:
    cfg = recipe(total_batch_size=64, auto_scale_lr=dict(base_batch_size=64))
    options = TrainOptions(auto_scale_lr=True, total_batch_size=128)
    assert scaled(cfg, options)[0] == pytest.approx(0.04)
    # The config that such a run writes: nothing left to scale.
    assert scaled(cfg)[0] == pytest.approx(0.04)


def test_two_base_batches_are_refused() -> None:
    with pytest.raises(LaunchError, match='cannot tell .*total_batch_size=64 or .*size=16'):
        scaled(recipe(total_batch_size=64))


def test_a_refusal_names_what_asked_and_where_to_take_it_back() -> None:
    """The flag, or the config, from which leaving the flag out would take nothing back."""
    with pytest.raises(LaunchError, match='already: leave --auto-scale-lr out.$'):
        scaled(recipe(total_batch_size=64, auto_scale_lr=dict(base_batch_size=64)))
    off = 'set auto_scale_lr.enable=False in the config'
    for base, sentence in (
        (64, f'already: {off}.'),
        (16, f'^auto_scale_lr.enable=True cannot tell .* {off} in the first case'),
    ):
        cfg = recipe(total_batch_size=64, auto_scale_lr=dict(enable=True, base_batch_size=base))
        with pytest.raises(LaunchError, match=sentence):
            scaled(cfg, TrainOptions())
    with pytest.raises(LaunchError, match='^auto_scale_lr.enable=True needs auto_scale_lr.base'):
        scaled(recipe(auto_scale_lr=dict(enable=True)), TrainOptions())
    cfg = recipe(auto_scale_lr=dict(enable=True), optim_wrapper=dict(optimizer=dict(type='LBFGS')))
    with pytest.raises(LaunchError, match='^auto_scale_lr.enable=True needs optim_wrapper'):
        scaled(cfg, TrainOptions())


@pytest.mark.parametrize(
    ('overrides', 'sentence'),
    [
        (dict(auto_scale_lr=None), 'needs auto_scale_lr.base_batch_size'),
        (dict(optim_wrapper=dict(optimizer=dict(type='LBFGS'))), 'lr to be a number, it is None'),
        (dict(optim_wrapper=dict(a=dict(), b=dict())), 'lr to be a number'),
    ],
)
def test_what_cannot_be_scaled(overrides: dict[str, Any], sentence: str) -> None:
    with pytest.raises(LaunchError, match=sentence):
        scaled(recipe(**overrides))


@pytest.mark.usefixtures('quick_start')
def test_mmengine_does_not_scale_a_second_time(tmp_path: Path) -> None:
    cfg = launch_toy.config(tmp_path, auto_scale_lr=dict(enable=True, base_batch_size=1))
    cfg.launcher = 'none'
    build_runner(cfg, prepare_training(cfg, SCALE)).train()
    assert {update['lr'] for update in launch_toy.recorded(tmp_path)} == {0.2}
