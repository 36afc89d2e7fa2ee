"""What a resumed run does not take from the config is said at the start; nothing without cause."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import launch_toy
import pytest
import torch
from mmengine.config import Config
from torch_versions import tells_names

from agvm_mm.launch.errors import LaunchError
from agvm_mm.launch.runner import TrainOptions, build_runner, prepare_training

WRAPPER = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.02, momentum=0.9))


def _config(folder: Path, **keys: Any) -> Config:
    schedule = [dict(type='MultiStepLR', by_epoch=False, milestones=[2], gamma=0.1)]
    entries = dict(
        optim_wrapper=WRAPPER,
        param_scheduler=schedule,
        train_cfg=dict(by_epoch=False, max_iters=4),
    )
    cfg = launch_toy.config(folder, **(entries | keys))
    cfg.launcher = 'none'
    return cfg


@pytest.fixture
def trained(tmp_path: Path, quick_start: None) -> Path:
    """The checkpoint after 4 iterations."""
    hooks = dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=4))
    cfg = _config(tmp_path / 'first', default_hooks=hooks)
    build_runner(cfg, prepare_training(cfg, TrainOptions())).train()
    return tmp_path / 'first/iter_4.pth'


def _warnings(cfg: Config, checkpoint: Path) -> list[str]:
    notes = prepare_training(cfg, TrainOptions(resume=str(checkpoint)))
    return [note.text for note in notes if note.level == logging.WARNING]


def _without(path: Path, *keys: str) -> Path:
    content = torch.load(path, weights_only=False)
    left = path.with_name(f'without_{"_".join(keys)}.pth')
    torch.save({key: value for key, value in content.items() if key not in keys}, left)
    return left


def test_nothing_is_said_of_the_same_config(tmp_path: Path, trained: Path) -> None:
    assert _warnings(_config(tmp_path / 'second'), trained) == []


def test_nothing_is_said_of_a_run_from_weights(tmp_path: Path, trained: Path) -> None:
    cfg = _config(tmp_path / 'second', load_from=str(_without(trained, 'optimizer')))
    assert prepare_training(cfg, TrainOptions()) == []


@tells_names
def test_another_rate_and_schedule(tmp_path: Path, trained: Path) -> None:
    """And the sentence is true: the optimizer of the resumed run has the checkpoint's rate."""
    wrapper = dict(WRAPPER, optimizer=dict(type='SGD', lr=0.5, momentum=0.9))
    schedule = [dict(type='MultiStepLR', by_epoch=False, milestones=[3], gamma=0.1)]
    entries = dict(optim_wrapper=wrapper, param_scheduler=schedule)
    cfg = _config(tmp_path / 'second', train_cfg=dict(by_epoch=False, max_iters=5), **entries)
    options = TrainOptions(resume=str(trained))
    notes = prepare_training(cfg, options)
    (text,) = [note.text for note in notes if note.level == logging.WARNING]
    assert 'goes on with optimizer and schedules of' in text
    assert 'optim_wrapper.optimizer.lr is 0.02 there and 0.5 in the config' in text
    assert 'param_scheduler[0].milestones is [2] there and [3] in the config' in text
    runner = build_runner(cfg, notes)
    runner.train()
    assert runner.optim_wrapper.get_lr()['lr'] == pytest.approx([0.002])


@tells_names
@pytest.mark.parametrize(
    ('keys', 'words'),
    [
        (('optimizer',), 'holds no optimizer state, as'),
        (('optimizer', 'param_schedulers'), 'holds no optimizer state and no schedules, as'),
    ],
)
def test_what_the_checkpoint_lacks(
    tmp_path: Path, trained: Path, keys: tuple[str, ...], words: str
) -> None:
    (text,) = _warnings(_config(tmp_path / 'second'), _without(trained, *keys))
    assert words in text and 'learning rate at its first value' in text


def test_weights_alone_are_refused(tmp_path: Path, trained: Path) -> None:
    weights = _without(trained, 'meta', 'message_hub', 'optimizer', 'param_schedulers')
    with pytest.raises(LaunchError, match='it holds weights and no run; set load_from='):
        _warnings(_config(tmp_path / 'second'), weights)


def test_keys_of_mmdetection_2(tmp_path: Path) -> None:
    old = dict(lr_config=dict(policy='step', step=[8, 11]), total_epochs=12)
    cfg = _config(tmp_path, **old)
    (note,) = prepare_training(cfg, TrainOptions())
    assert note.level == logging.WARNING and note.text == (
        'Nothing reads these keys of MMDetection 2.x: lr_config (today param_scheduler), '
        'total_epochs (today train_cfg.max_epochs).'
    )
