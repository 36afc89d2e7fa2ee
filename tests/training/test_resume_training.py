"""A resumed run ends with the weights and scales of an uninterrupted one, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from launcher import run_tool

pytest.importorskip('mmcv._ext', reason='mmdet needs the compiled ops of mmcv')

from training_runs import CONFIG, differences, latest, load, training_state

PLAIN = CONFIG.with_name('plain_faster_rcnn.py')


def _train(scenes: Path, work_dir: Path, *args: Any, config: Path = CONFIG) -> dict[str, Any]:
    run_tool('dist_train.sh', config, 2, '--work-dir', work_dir, *args, data=scenes)
    return load(latest(work_dir))


def test_two_epochs_and_two_more_equal_four(scenes, whole, tmp_path):
    half = _train(scenes, tmp_path, '--cfg-options', 'train_cfg.max_epochs=2')
    assert half['meta']['epoch'] == 2
    resumed = _train(scenes, tmp_path, '--resume')
    assert resumed['meta']['epoch'] == 4
    uninterrupted = load(latest(whole))
    assert differences(training_state(uninterrupted), training_state(resumed)) == []
    modules = uninterrupted['optimizer']['agvm']['modules']
    assert max(m['scale'] for m in modules.values()) > 1.05, 'AGVM must have modulated'
    assert differences(half['state_dict'], uninterrupted['state_dict']) != []


@pytest.mark.slow
def test_plain_and_agvm_checkpoints_resume_into_each_other(scenes, whole, tmp_path):
    two_epochs = ('--cfg-options', 'train_cfg.max_epochs=2')
    half = _train(scenes, tmp_path / 'plain', *two_epochs, config=PLAIN)
    assert 'agvm' not in half['optimizer']
    resumed = _train(scenes, tmp_path / 'plain', '--resume')['optimizer']
    uninterrupted = load(latest(whole))['optimizer']
    assert resumed['updates'] == uninterrupted['updates']
    estimates = [
        run['agvm']['modules']['backbone']['estimates'] for run in (resumed, uninterrupted)
    ]
    assert estimates[0] == estimates[1] / 2

    _train(scenes, tmp_path / 'agvm', *two_epochs)
    under_plain = _train(scenes, tmp_path / 'agvm', '--resume', config=PLAIN)
    assert under_plain['meta']['epoch'] == 4 and 'agvm' not in under_plain['optimizer']
