"""The arithmetic of the total batch and the conversion of every length."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmengine.config import Config

from agvm_mm.launch.batch import (
    accumulative_counts,
    apply_total_batch_size,
    effective_batch,
    restore_updates,
)
from agvm_mm.launch.errors import LaunchError


def recipe(**overrides: Any) -> Config:
    """An iteration-based recipe with every kind of length."""
    entries = dict(
        total_batch_size=64,
        train_dataloader=dict(batch_size=2),
        train_cfg=dict(
            type='IterBasedTrainLoop',
            max_iters=1000,
            val_interval=100,
            dynamic_intervals=[(800, 50)],
        ),
        optim_wrapper=dict(
            type='AGVMOptimWrapper',
            optimizer=dict(type='SGD', lr=0.1),
            agvm=dict(interval=10, begin=560, end=900),
            clip_grad=dict(max_norm=35, begin=0, end=920),
        ),
        param_scheduler=[
            dict(type='LinearLR', by_epoch=False, begin=0, end=50),
            dict(type='PolyLR', by_epoch=False, begin=50),
        ],
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=50),
            checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=200, save_begin=100),
        ),
        custom_hooks=[
            dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.001),
            dict(type='mmdet.MeanTeacherHook'),
            dict(type='MyHook', interval=7),
        ],
    )
    return Config({**entries, **overrides})


@pytest.mark.parametrize(
    ('total', 'ranks', 'images', 'counts'),
    [(1536, 8, 2, 96), (1536, 768, 2, 1), (16, 8, 2, 1), (7, 1, 1, 7), (9, 3, 3, 1)],
)
def test_counts(total: int, ranks: int, images: int, counts: int) -> None:
    assert accumulative_counts(total, ranks, images) == counts


@pytest.mark.parametrize(
    ('total', 'ranks', 'images', 'usable'),
    [
        (1500, 8, 16, 'nearest usable are 1408 and 1536'),
        (17, 8, 2, 'nearest usable are 16 and 32'),
        (31, 8, 2, 'nearest usable are 16 and 32'),
        (8, 8, 2, 'smallest usable is 16'),
        (1, 768, 2, 'smallest usable is 1536'),
    ],
)
def test_a_batch_that_does_not_divide(total: int, ranks: int, images: int, usable: str) -> None:
    with pytest.raises(LaunchError, match=f'{total} is no multiple of .*; the {usable}'):
        accumulative_counts(total, ranks, images)


@pytest.mark.parametrize('total', [0, -16, 16.0, '16', True])
def test_a_batch_that_is_none(total: Any) -> None:
    with pytest.raises(LaunchError, match='total_batch_size is .*; allowed is a whole number'):
        accumulative_counts(total, 1, 1)


def test_nothing_changes_without_a_total_batch() -> None:
    cfg = recipe(total_batch_size=None)
    before = copy.deepcopy(cfg.to_dict())
    assert apply_total_batch_size(cfg, ranks=2) == []
    assert cfg.to_dict() == before


def test_every_length_of_an_iteration_based_recipe() -> None:
    cfg = recipe()
    (note,) = apply_total_batch_size(cfg, ranks=8)
    assert note.text == 'total batch 64 = 8 ranks x 2 images x 4 micro-batches'
    assert cfg.optim_wrapper.accumulative_counts == 4
    assert cfg.train_cfg.max_iters == 4000
    assert cfg.train_cfg.val_interval == 400
    assert cfg.train_cfg.dynamic_intervals == [(3200, 200)]
    assert cfg.default_hooks.logger.interval == 200
    assert (cfg.default_hooks.checkpoint.interval, cfg.default_hooks.checkpoint.save_begin) == (
        800,
        400,
    )
    ema, teacher, other = cfg.custom_hooks
    assert (ema.interval, ema.begin_iter, ema.gamma) == (4, 4, 8000)
    assert teacher.interval == 4
    assert other.interval == 7
    assert cfg.log_processor.window_size == 40


def test_what_counts_updates_already_stays() -> None:
    cfg = recipe()
    apply_total_batch_size(cfg, ranks=8)
    assert cfg.optim_wrapper.agvm == dict(interval=10, begin=560, end=900)
    assert cfg.optim_wrapper.clip_grad == dict(max_norm=35, begin=0, end=920)
    warmup, decay = cfg.param_scheduler
    assert (warmup.begin, warmup.end) == (0, 50)
    # The end that MMEngine would take from the loop is in micro-batches there.
    assert (decay.begin, decay.end) == (50, 1000)
    assert cfg.default_hooks.param_scheduler.type == 'UpdateParamSchedulerHook'


def test_epochs_stay() -> None:
    cfg = recipe(
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=12, val_interval=1),
        param_scheduler=[
            dict(type='LinearLR', by_epoch=False, begin=0, end=50),
            dict(type='CosineAnnealingLR', T_max=12, convert_to_iter_based=True),
            dict(type='MultiStepLR', milestones=[8, 11]),
        ],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
        custom_hooks=[dict(type='EMAHook', begin_epoch=2)],
    )
    apply_total_batch_size(cfg, ranks=8)
    assert cfg.train_cfg == dict(type='EpochBasedTrainLoop', max_epochs=12, val_interval=1)
    assert cfg.param_scheduler[1].T_max == 12
    assert cfg.param_scheduler[2].milestones == [8, 11]
    assert cfg.default_hooks.checkpoint.interval == 1
    assert cfg.default_hooks.param_scheduler.converted == [1]
    assert cfg.custom_hooks[0] == dict(type='EMAHook', begin_epoch=2, interval=4)
    assert cfg.default_hooks.logger.interval == 40


def test_defaults_of_mmengine_span_as_many_updates() -> None:
    cfg = Config(
        dict(
            train_dataloader=dict(batch_size=2),
            train_cfg=dict(by_epoch=False, max_iters=10),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        )
    )
    apply_total_batch_size(cfg, ranks=1, total=6)
    assert cfg.train_cfg == dict(by_epoch=False, max_iters=30, val_interval=3000)
    assert cfg.default_hooks.logger == dict(type='LoggerHook', interval=30)


def test_switched_off_intervals_and_hooks_stay() -> None:
    cfg = recipe(
        default_hooks=dict(
            logger=None, checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=-1)
        )
    )
    apply_total_batch_size(cfg, ranks=8)
    assert cfg.default_hooks.checkpoint.interval == -1
    assert cfg.default_hooks.logger is None


def test_the_flag_wins_over_the_config() -> None:
    cfg = recipe()
    apply_total_batch_size(cfg, ranks=8, total=128)
    assert cfg.optim_wrapper.accumulative_counts == 8
    assert cfg.total_batch_size == 128
    assert cfg.train_cfg.max_iters == 8000


def test_accumulative_counts_must_agree() -> None:
    cfg = recipe()
    cfg.optim_wrapper.accumulative_counts = 4
    apply_total_batch_size(cfg, ranks=8)
    cfg = recipe()
    cfg.optim_wrapper.accumulative_counts = 4
    with pytest.raises(LaunchError, match='counts=4 contradicts .* needs 2 on 16 ranks'):
        apply_total_batch_size(cfg, ranks=16)


@pytest.mark.parametrize(
    ('overrides', 'sentence'),
    [
        (dict(train_dataloader=dict()), 'train_dataloader.batch_size is None'),
        (dict(train_dataloader=[dict(batch_size=2)]), 'train_dataloader.batch_size is None'),
        (dict(optim_wrapper=dict(type='OptimWrapperDict', a=dict())), 'needs one optimizer'),
        (dict(param_scheduler=dict(a=[], b=[])), 'several optimizers'),
        (dict(train_cfg=dict(max_iters='many')), "train_cfg.max_iters is 'many'"),
        (dict(default_hooks=dict(param_scheduler=dict(type='Mine'))), 'has to replace'),
        (dict(train_cfg=dict(max_epochs=1)), r'param_scheduler\[1\] \(PolyLR\) .* has no end'),
    ],
)
def test_what_cannot_be_converted(overrides: dict[str, Any], sentence: str) -> None:
    if 'max_iters' in overrides.get('train_cfg', {}):
        overrides['param_scheduler'] = []
    with pytest.raises(LaunchError, match=sentence):
        apply_total_batch_size(recipe(**overrides), ranks=8)


@given(ranks=st.sampled_from([1, 2, 4, 8, 16, 32]), others=st.sampled_from([1, 2, 4, 8, 16, 32]))
def test_a_written_config_is_converted_for_other_ranks(ranks: int, others: int) -> None:
    direct, again = recipe(), recipe()
    apply_total_batch_size(direct, others)
    apply_total_batch_size(again, ranks)
    restore_updates(again)
    apply_total_batch_size(again, others)
    assert again.to_dict() == direct.to_dict()


def test_a_written_config_survives_the_file(tmp_path: Path) -> None:
    cfg = recipe()
    apply_total_batch_size(cfg, ranks=4)
    cfg.dump(str(tmp_path / 'written.py'))
    again = Config.fromfile(str(tmp_path / 'written.py'))
    restore_updates(again)
    assert again.train_cfg.max_iters == 1000
    assert 'accumulative_counts' not in again.optim_wrapper
    assert again.default_hooks.param_scheduler == dict(type='ParamSchedulerHook')
    apply_total_batch_size(again, ranks=4)
    assert again.to_dict() == cfg.to_dict()


def test_an_edited_length_must_be_whole_updates() -> None:
    cfg = recipe()
    apply_total_batch_size(cfg, ranks=8)
    cfg.train_cfg.max_iters = 4001
    with pytest.raises(LaunchError, match='train_cfg.max_iters=4001 .*allowed is a multiple of 4'):
        restore_updates(cfg)


def test_effective_batch_counts_accumulation() -> None:
    cfg = recipe(total_batch_size=None)
    assert effective_batch(cfg, ranks=3) == 6
    cfg.optim_wrapper.accumulative_counts = 5
    assert effective_batch(cfg, ranks=3) == 30
