"""A wrong option of a part ends a launch, and a dry run, before anything is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import launch_toy
import pytest
from mmengine.registry import OPTIM_WRAPPERS

from agvm_mm import AGVMAmpOptimWrapper, PartsOptimWrapper
from agvm_mm.launch.errors import LaunchError
from agvm_mm.launch.optim_wrapper import known_keys
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
        (dict(kfak=dict()), r"optim_wrapper has the unknown key 'kfak'; known are .*kfac"),
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
        dict(constructor='DefaultOptimWrapperConstructor', paramwise_cfg=dict(bias_lr_mult=2)),
        dict(join_groups=True),
        dict(_scope_='mmseg'),  # as MMEngine adds it to what comes from another package
    ],
)
def test_rules_and_right_options_pass(tmp_path: Path, options: dict[str, Any]) -> None:
    _prepare(tmp_path, **options)


def test_what_is_not_ours_is_left_to_mmengine(tmp_path: Path) -> None:
    _prepare(tmp_path, 'OptimWrapper')
    _prepare(tmp_path, 'NobodyKnows', agvm=dict(intervall=3))


@OPTIM_WRAPPERS.register_module()
class OwnOptionWrapper(PartsOptimWrapper):
    """Somebody's class with an option of its own."""

    def __init__(self, **kwargs: Any) -> None:
        self.mine = kwargs.pop('mine')
        super().__init__(**kwargs)


def test_a_class_with_its_own_constructor_may_have_other_options(tmp_path: Path) -> None:
    _prepare(tmp_path, 'OwnOptionWrapper', mine=1)
    with pytest.raises(LaunchError, match=r'optim_wrapper\.kfac\.damping is -1'):
        _prepare(tmp_path, 'OwnOptionWrapper', mine=1, kfac=dict(damping=-1))


def test_mixed_precision_has_its_own_options(tmp_path: Path) -> None:
    assert {'loss_scale', 'dtype', 'accumulative_counts'} <= {*known_keys(AGVMAmpOptimWrapper)}
    with pytest.raises(LaunchError, match="unknown key 'loss_scale'"):
        _prepare(tmp_path, 'AGVMOptimWrapper', loss_scale='dynamic')
