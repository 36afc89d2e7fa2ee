"""A recipe for another batch: which numbers of a config change, into what, and what is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import launch_toy
import pytest
import torch
from mmengine.model import BaseAveragedModel, ExponentialMovingAverage
from mmengine.registry import MODELS
from rescale_recipe import SQRT, by_iteration, launch, plain, warned

from agvm_mm.launch.errors import LaunchError
from agvm_mm.launch.record import TrainOptions
from agvm_mm.launch.rescale.averages import momentum_of
from agvm_mm.launch.rescale.rules import weight_of_past
from agvm_mm.launch.runner import build_runner, prepare_training


def test_every_number_of_a_recipe_by_iteration() -> None:
    """k = 4; the lengths of the loop are then turned into 32 micro-batches an update."""
    cfg = by_iteration()
    table, batch, interval = launch(cfg, 64, 'sqrt')
    wrapper, (warmup, decay) = cfg.optim_wrapper, cfg.param_scheduler
    assert wrapper.optimizer == dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0005)
    # 375 of warm-up; margins of 100 updates stay up to a quarter of it, 93.
    assert wrapper.agvm == dict(begin=375 + 93, interval=10, end=10000)
    assert wrapper.clip_grad == dict(max_norm=35, begin=375 - 93, end=375 + 93 + 1)
    assert (warmup.begin, warmup.end, warmup.start_factor) == (0, 375, 1e-3)
    assert (decay.begin, decay.end, decay.power) == (375, 20000, 0.9)
    assert decay.eta_min == pytest.approx(2e-4)
    assert wrapper.accumulative_counts == 32
    assert cfg.train_cfg.max_iters == 20000 * 32 and cfg.train_cfg.val_interval == 2000 * 32
    assert cfg.default_hooks.checkpoint.interval == 2000 * 32
    assert cfg.custom_hooks[0].momentum == pytest.approx(1 - 0.999**4)
    assert cfg.custom_hooks[0].begin_iter == 200 * 32
    assert batch.text == 'total batch 64 = 1 rank x 2 images x 32 micro-batches'
    assert 'every 13 updates, that is 416 iterations' in interval.text  # 50 at batch 16
    lines = [line.split() for line in table.text.splitlines()]
    assert ['optim_wrapper.optimizer.lr', '0.01', '0.02', 'sqrt:', 'x', '2'] == lines[3][:6]
    assert 'arXiv:1404.5997' in lines[3]
    (decay_line,) = (line for line in lines if line[0].endswith('weight_decay'))
    assert decay_line[1:] == ['0.0005', '0.0005', 'left', 'alone', '-']
    (ema,) = (line for line in lines if line[0] == 'custom_hooks[0].momentum')
    assert ema[1:3] == ['0.001', '0.003994'] and 'arXiv:2307.13813' in ema


def test_every_number_of_a_recipe_by_epoch() -> None:
    """What counts epochs stays; MMDetection's warm-up of iterations keeps its images."""
    epochs = dict(type='MultiStepLR', by_epoch=True, begin=0, end=12, milestones=[8, 11])
    cfg = by_iteration(
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=12, val_interval=1),
        param_scheduler=[
            dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
            dict(epochs),
        ],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
        custom_hooks=[dict(type='mmdet.MeanTeacherHook', interval=1)],
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.02)),
    )
    launch(cfg, 256, 'linear-then-sqrt')
    assert cfg.param_scheduler[0].end == 31  # 500 / 16
    assert cfg.param_scheduler[1] == epochs
    assert cfg.train_cfg == dict(type='EpochBasedTrainLoop', max_epochs=12, val_interval=1)
    assert cfg.default_hooks.checkpoint.interval == 1
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(0.16 * 2**0.5)
    assert cfg.custom_hooks[0].momentum == pytest.approx(1 - 0.999**16)


@pytest.mark.parametrize(
    ('entry', 'expected'),
    [
        (dict(type='CosineAnnealingLR', begin=25, end=256, T_max=231), dict(T_max=58, end=64)),
        (dict(type='MultiStepLR', milestones=[100, 220], end=256), dict(milestones=[25, 55])),
        (dict(type='StepLR', step_size=30, end=256), dict(step_size=8)),
        (dict(type='CosineRestartLR', periods=[10, 10, 20]), dict(periods=[3, 2, 5])),
        (dict(type='ExponentialLR', gamma=0.5, end=256), dict(gamma=0.0625)),
        (dict(type='ReduceOnPlateauLR', min_value=1e-5, end=256), dict(min_value=2e-5)),
        (dict(type='CosineAnnealingMomentum', eta_min=0.5, end=256), dict(eta_min=0.5, end=64)),
        (dict(type='LinearLR', end=1), dict(end=1)),
    ],
)
def test_schedules_that_count_iterations(entry: dict[str, Any], expected: dict[str, Any]) -> None:
    """Each keeps its share of the run; a span ends where its end does."""
    cfg = by_iteration(param_scheduler=[{**entry, 'by_epoch': False}], optim_wrapper=plain())
    launch(cfg, 64, 'sqrt')
    changed = {key: cfg.param_scheduler[0][key] for key in expected}
    assert changed == expected


@pytest.mark.usefixtures('quick_start')
def test_one_cycle_at_twice_the_batch(tmp_path: Path) -> None:
    """First and highest rate double, and the run has half the updates."""

    def rates(folder: Path, **options: Any) -> list[float]:
        cycle = dict(type='OneCycleLR', eta_max=0.4, total_steps=40, pct_start=0.25, by_epoch=False)
        cfg = launch_toy.config(
            folder,
            train_cfg=dict(by_epoch=False, max_iters=40),
            param_scheduler=cycle,
            total_batch_size=2,
        )
        cfg.launcher = 'none'
        build_runner(cfg, prepare_training(cfg, TrainOptions(**options))).train()
        return [update['lr'] for update in launch_toy.recorded(folder)]

    small = rates(tmp_path / 'small')
    large = rates(tmp_path / 'large', total_batch_size=4, scale_rule='linear')
    assert (len(small), len(large)) == (40, 20)
    assert small[0] == pytest.approx(0.4 / 25) and max(small) == pytest.approx(0.4, rel=0.01)
    assert large[0] == pytest.approx(2 * 0.4 / 25) and max(large) == pytest.approx(0.8, rel=0.03)


def test_adam() -> None:
    scaling = dict(SQRT, adam_sde=True)
    optimizer = dict(type='AdamW', lr=1e-4, weight_decay=0.05)
    cfg = by_iteration(optim_wrapper=dict(optimizer=optimizer), auto_scale_lr=scaling)
    launch(cfg, 64)
    assert cfg.optim_wrapper.optimizer == dict(
        type='AdamW',
        lr=2e-4,
        weight_decay=0.05,
        betas=pytest.approx((0.6, 0.996)),
        eps=pytest.approx(5e-9),
    )


@pytest.mark.parametrize(
    ('scaling', 'sentence'),
    [
        (dict(rule='cubic'), "auto_scale_lr.rule is 'cubic'; allowed is 'linear' or 'sqrt' or"),
        (dict(rule='linear', adam_sde=True), "adam_sde is True; allowed is .*rule='sqrt' alone"),
        (dict(adam_sde=True), "adam_sde is True and optim_wrapper.optimizer.type is 'SGD'"),
        (dict(knee=0), 'auto_scale_lr.knee is 0; allowed is a batch'),
        (dict(base_batch_size=None), 'to rescale to batch 64 .* set auto_scale_lr.base_batch_size'),
    ],
)
def test_what_cannot_be_rescaled(scaling: dict[str, Any], sentence: str) -> None:
    with pytest.raises(LaunchError, match=sentence):
        launch(by_iteration(auto_scale_lr={**SQRT, **scaling}), 64)


def test_micro_batches_are_refused() -> None:
    cfg = by_iteration(optim_wrapper=dict(plain(), accumulative_counts=8))
    with pytest.raises(LaunchError, match='accumulative_counts is 8 and the iterations .* count'):
        launch(cfg, rule='sqrt')


def test_two_batches_are_refused() -> None:
    cfg = by_iteration(total_batch_size=32)
    with pytest.raises(LaunchError, match='total_batch_size=32 or for .*base_batch_size=16'):
        launch(cfg, 64, 'sqrt')
    with pytest.raises(LaunchError, match='--auto-scale-lr contradicts --scale-rule none'):
        prepare_training(by_iteration(), TrainOptions(auto_scale_lr=True, scale_rule='none'))


@MODELS.register_module()
class PastWeighingAverage(ExponentialMovingAverage):
    """Its momentum is the weight of the past."""

    def __init__(self, model: Any, momentum: float = 0.99) -> None:
        super().__init__(model, momentum=0.5)
        self.momentum = momentum

    def avg_func(self, averaged: torch.Tensor, source: torch.Tensor, steps: Any) -> None:
        averaged.lerp_(source, 1 - self.momentum)


@MODELS.register_module()
class OddAverage(BaseAveragedModel):
    """Its momentum is no weight."""

    def __init__(self, model: Any, momentum: float = 0.5) -> None:
        super().__init__(model)
        self.momentum = momentum

    def avg_func(self, averaged: torch.Tensor, source: torch.Tensor, steps: Any) -> None:
        averaged.lerp_(source, 0.1)


def test_an_average_says_which_way_its_momentum_counts() -> None:
    known = momentum_of('PastWeighingAverage', 'mmengine')
    assert known is not None and known.default == 0.99 and known.rule is weight_of_past
    hooks = [dict(type='EMAHook', ema_type='PastWeighingAverage', momentum=0.9)]
    cfg = by_iteration(custom_hooks=hooks)
    launch(cfg, 64, 'sqrt')
    assert cfg.custom_hooks[0].momentum == pytest.approx(0.6561)


@pytest.mark.parametrize(
    'ema_type', ['mmdet.ExpMomentumEMA', 'MomentumAnnealingEMA', 'ExponentialMovingAverage']
)
def test_known_averages(ema_type: str) -> None:
    cfg = by_iteration(custom_hooks=[dict(type='EMAHook', ema_type=ema_type)])
    assert warned(launch(cfg, 64, 'sqrt')) == []
    assert cfg.custom_hooks[0].momentum == pytest.approx(1 - (1 - 0.0002) ** 4)
    # The exponential start spans 2000 updates of the base batch, in micro-batches here.
    assert cfg.custom_hooks[0].get('gamma') in (None, 500 * 32, 100 * 32)


def test_an_average_that_does_not_say_is_left_with_a_warning() -> None:
    cfg = by_iteration(custom_hooks=[dict(type='EMAHook', ema_type='OddAverage', momentum=0.3)])
    (text,) = warned(launch(cfg, 64, 'sqrt'))
    assert text.startswith('custom_hooks[0].momentum=0.3 is left as it is, since OddAverage')
    assert text.endswith('its average spans 4 times the images.')
    assert cfg.custom_hooks[0].momentum == 0.3
