"""A resumed run ends with the weights and factors of an uninterrupted one, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from launcher import run_tool

pytest.importorskip('mmcv._ext', reason='mmdet needs the compiled ops of mmcv')

CONFIG = Path(__file__).parent / 'tiny_faster_rcnn.py'
PLAIN = CONFIG.with_name('plain_faster_rcnn.py')


def _train(scenes: Path, work_dir: Path, *args: Any, config: Path = CONFIG) -> dict[str, Any]:
    run_tool('dist_train.sh', config, 2, '--work-dir', work_dir, *args, data=scenes)
    return torch.load(Path((work_dir / 'last_checkpoint').read_text()), weights_only=False)


def _differences(a: Any, b: Any, path: str = '') -> list[str]:
    """Where two nested checkpoints differ in as much as a bit."""
    if isinstance(a, torch.Tensor):
        return [] if torch.equal(a, b) else [path]
    if isinstance(a, dict):
        if a.keys() != b.keys():
            return [f'{path}: keys']
        return [d for key in a for d in _differences(a[key], b[key], f'{path}.{key}')]
    if isinstance(a, (list, tuple)):
        return [d for i, (x, y) in enumerate(zip(a, b)) for d in _differences(x, y, f'{path}.{i}')]
    return [] if a == b else [path]


def _training_state(checkpoint: dict[str, Any]) -> dict[str, Any]:
    return {
        key: checkpoint[key]
        for key in ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers')
    }


@pytest.fixture(scope='module')
def whole(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Four epochs without interruption."""
    return _train(scenes, tmp_path_factory.mktemp('whole'))


def test_two_epochs_and_two_more_equal_four(scenes, whole, tmp_path):
    half = _train(scenes, tmp_path, '--cfg-options', 'train_cfg.max_epochs=2')
    assert half['meta']['epoch'] == 2
    resumed = _train(scenes, tmp_path, '--resume')
    assert resumed['meta']['epoch'] == 4
    assert _differences(_training_state(whole), _training_state(resumed)) == []
    modules = whole['optimizer']['agvm']['modules']
    assert max(m['factor'] for m in modules.values()) > 1.05, 'AGVM must have modulated'
    assert _differences(half['state_dict'], whole['state_dict']) != []


@pytest.mark.slow
def test_plain_and_agvm_checkpoints_resume_into_each_other(scenes, whole, tmp_path):
    two_epochs = ('--cfg-options', 'train_cfg.max_epochs=2')
    half = _train(scenes, tmp_path / 'plain', *two_epochs, config=PLAIN)
    assert 'agvm' not in half['optimizer']
    resumed = _train(scenes, tmp_path / 'plain', '--resume')['optimizer']['agvm']
    uninterrupted = whole['optimizer']['agvm']
    assert resumed['update'] == uninterrupted['update']
    estimates = [run['modules']['backbone']['estimates'] for run in (resumed, uninterrupted)]
    assert estimates[0] == estimates[1] / 2

    _train(scenes, tmp_path / 'agvm', *two_epochs)
    under_plain = _train(scenes, tmp_path / 'agvm', '--resume', config=PLAIN)
    assert under_plain['meta']['epoch'] == 4 and 'agvm' not in under_plain['optimizer']
