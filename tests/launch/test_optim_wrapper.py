"""A wrong option of a part ends a launch, and a dry run, before anything is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import launch_toy
import pytest

from agvm_mm.launch.errors import LaunchError
from agvm_mm.launch.runner import TrainOptions, load_config, prepare_training

SGD = dict(type='SGD', lr=0.1)
WARMUP = [dict(type='LinearLR', start_factor=0.1, begin=0, end=2, by_epoch=False)]


def _prepare(folder: Path, kind: Any = 'AGVMOptimWrapper', **options: Any) -> None:
    wrapper = dict(type=kind, optimizer=SGD, **options)
    path = launch_toy.write_config(folder, optim_wrapper=wrapper, param_scheduler=WARMUP)
    prepare_training(load_config(str(path)), TrainOptions(total_batch_size=4, dry_run=True))


@pytest.mark.parametrize('kind', ['AGVMOptimWrapper', 'agvm_mm.PartsOptimWrapper'])
@pytest.mark.parametrize(
    ('options', 'sentence'),
    [
        (dict(agvm=dict(intervall=3)), r"optim_wrapper\.agvm has the unknown key 'intervall'"),
        (dict(kfac=dict(damping=-1)), r'optim_wrapper\.kfac\.damping is -1'),
        (dict(clip_grad=dict(type='agc', eps=0)), r'optim_wrapper\.clip_grad\.eps is 0'),
    ],
)
def test_a_wrong_option_is_one_sentence(
    tmp_path: Path, kind: str, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(LaunchError, match=sentence):
        _prepare(tmp_path, kind, **options)


@pytest.mark.parametrize(
    'options',
    [
        dict(agvm=dict(begin='after_warmup', interval='by_batch')),
        dict(agvm=None, kfac=dict(), clip_grad=dict(max_norm=5.0)),
    ],
)
def test_rules_and_right_options_pass(tmp_path: Path, options: dict[str, Any]) -> None:
    _prepare(tmp_path, **options)


def test_what_is_not_ours_is_left_to_mmengine(tmp_path: Path) -> None:
    _prepare(tmp_path, 'OptimWrapper')
    _prepare(tmp_path, 'NobodyKnows', agvm=dict(intervall=3))
