"""Rescaling happens once, only where it was asked for, and under every launcher."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import launch_toy
import pytest
import torch
from launcher import run_tool
from mmengine.runner import Runner
from rescale_recipe import SQRT, by_iteration, launch, warned

from agvm_mm.launch.record import TrainOptions
from agvm_mm.launch.runner import load_config, prepare_training, resolve_batch

UNKNOWN_RULE = (
    "rule is 'sqrt' .* run does not know it and would scale the learning rate linearly and alone; "
    '.*call agvm_mm.launch.runner.resolve'
)


class TestOnce:
    def test_a_config_that_a_run_has_written(self, tmp_path: Path) -> None:
        cfg = by_iteration(auto_scale_lr=dict(SQRT), total_batch_size=64)
        assert 'rescaled from batch 16 to 64' in launch(cfg)[0].text
        cfg.dump(str(tmp_path / 'written.py'))
        again = load_config(str(tmp_path / 'written.py'))
        assert [note.text for note in launch(again)] == [
            'total batch 64 = 1 rank x 2 images x 32 micro-batches',
            'A log line is written every 13 updates, that is 416 iterations.',
        ]
        assert {**again.to_dict(), 'work_dir': 'unused'} == cfg.to_dict()
        # Asked for again, it knows that it is written for 64 by now.
        again = load_config(str(tmp_path / 'written.py'))
        assert 'nothing to rescale' in launch(again, rule='sqrt')[0].text
        assert again.optim_wrapper.optimizer.lr == cfg.optim_wrapper.optimizer.lr

    def test_the_flag_takes_the_rule_of_the_config(self) -> None:
        cfg = by_iteration(auto_scale_lr=dict(SQRT, enable=False))
        prepare_training(cfg, TrainOptions(auto_scale_lr=True, total_batch_size=64))
        assert cfg.optim_wrapper.optimizer.lr == pytest.approx(0.02)
        assert cfg.optim_wrapper.agvm.begin == 468

    def test_it_goes_on_to_another_batch(self, tmp_path: Path) -> None:
        cfg = by_iteration(auto_scale_lr=dict(SQRT), total_batch_size=64)
        launch(cfg)
        cfg.dump(str(tmp_path / 'written.py'))
        again, direct = load_config(str(tmp_path / 'written.py')), by_iteration()
        launch(again, 256, 'sqrt')
        launch(direct, 256, 'sqrt')
        assert again.optim_wrapper.optimizer == direct.optim_wrapper.optimizer
        assert again.train_cfg == direct.train_cfg

    def test_another_batch_without_a_rule_is_warned_of(self, tmp_path: Path) -> None:
        cfg = by_iteration(auto_scale_lr=dict(SQRT), total_batch_size=64)
        launch(cfg)
        cfg.dump(str(tmp_path / 'written.py'))
        (text,) = warned(launch(load_config(str(tmp_path / 'written.py')), 32))
        assert 'is 32 and' in text and 'written for 64 (auto_scale_lr.base_batch_size)' in text


class TestAsBefore:
    """Without the new keys a launch is what it was."""

    @pytest.mark.parametrize('options', [{}, dict(total_batch_size=64), dict(auto_scale_lr=True)])
    def test_only_what_was_asked_for_changes(self, options: dict[str, Any]) -> None:
        cfg, before = by_iteration(), by_iteration()
        prepare_training(cfg, TrainOptions(**options))
        lr = 0.01 / 8 if 'auto_scale_lr' in options else 0.01
        assert cfg.optim_wrapper.optimizer.lr == pytest.approx(lr)
        for key in ('agvm', 'clip_grad'):
            assert cfg.optim_wrapper[key] == before.optim_wrapper[key]
        assert cfg.param_scheduler == before.param_scheduler
        assert cfg.custom_hooks[0].momentum == 0.001
        counts = 32 if 'total_batch_size' in options else 1
        assert cfg.train_cfg.max_iters == 80000 * counts

    def test_nothing_at_all(self) -> None:
        cfg = by_iteration()
        before = copy.deepcopy(cfg.to_dict())
        before['log_processor'] = dict(type='AGVMLogProcessor')
        before['custom_hooks'].append(dict(type='VarianceTableHook', interval=1))
        assert prepare_training(cfg, TrainOptions()) == []
        assert cfg.to_dict() == before

    def test_a_batch_that_is_not_the_recipes_is_warned_of(self) -> None:
        (text,) = warned(launch(by_iteration(), 64))
        assert text == (
            'The batch of an update is 64 and optim_wrapper.optimizer.lr=0.01 is written for 16 '
            '(auto_scale_lr.base_batch_size): nothing is rescaled; give --scale-rule linear, sqrt '
            'or linear-then-sqrt, or none to leave it so.'
        )
        cfg = by_iteration(total_batch_size=32, auto_scale_lr=None)
        assert 'is 64 and' in warned(launch(cfg, 64))[0]
        assert (
            'written for 32 (total_batch_size)'
            in warned(launch(by_iteration(total_batch_size=32), 64))[0]
        )

    def test_and_of_none_where_all_is_well(self) -> None:
        assert warned(launch(by_iteration(), 16)) == []
        assert warned(launch(by_iteration(total_batch_size=64))) == []
        assert warned(launch(by_iteration(), 64, 'none')) == []
        cfg = by_iteration(auto_scale_lr=dict(SQRT))
        assert warned(launch(cfg, 64, 'none')) == []
        assert cfg.auto_scale_lr.enable is False and cfg.optim_wrapper.optimizer.lr == 0.01


@pytest.mark.parametrize(
    ('path', 'scope'),
    [
        ('mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', 'mmdet'),
        ('mmseg::pspnet/pspnet_r50-d8_4xb4-80k_ade20k-512x512.py', 'mmseg'),
    ],
)
def test_a_config_of_either_framework(tmp_path: Path, path: str, scope: str) -> None:
    file = tmp_path / 'config.py'
    file.write_text(f'_base_ = {path!r}\nauto_scale_lr = dict(base_batch_size=16, rule="sqrt")\n')
    cfg, before = load_config(str(file)), load_config(str(file))
    resolve_batch(cfg, total_batch_size=64, scale_rule='sqrt')
    assert cfg.default_scope == scope
    lr = before.optim_wrapper.optimizer.lr
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(2 * lr)
    counts = cfg.optim_wrapper.accumulative_counts
    assert counts * cfg.train_dataloader.batch_size == 64
    if scope == 'mmseg':
        assert cfg.train_cfg.max_iters == 20000 * counts
        assert cfg.param_scheduler[0].end == 20000
    else:
        assert (cfg.train_cfg.max_epochs, cfg.param_scheduler[0].end) == (12, 125)


class TestOtherLaunchers:
    @pytest.mark.usefixtures('quick_start')
    def test_a_script_of_ones_own(self, tmp_path: Path) -> None:
        cfg = launch_toy.config(tmp_path, auto_scale_lr=dict(SQRT, base_batch_size=2))
        cfg.optim_wrapper.type = 'PartsOptimWrapper'
        Runner.from_cfg(resolve_batch(cfg, total_batch_size=8)).train()
        updates = launch_toy.recorded(tmp_path)
        assert {update['lr'] for update in updates} == {0.2}
        assert len(updates) == 2  # of 6, at 4 times the batch, rounded

    @pytest.mark.usefixtures('quick_start')
    def test_a_rule_that_nobody_applied_is_refused(self, tmp_path: Path) -> None:
        """MMEngine would scale the rate linearly, and nothing else."""
        cfg = launch_toy.config(tmp_path, auto_scale_lr=dict(SQRT))
        cfg.optim_wrapper.type = 'PartsOptimWrapper'
        with pytest.raises(ValueError, match=UNKNOWN_RULE):
            Runner.from_cfg(cfg).train()


def test_a_dry_run_prints_and_trains_nothing(tmp_path: Path) -> None:
    config = launch_toy.write_config(tmp_path, auto_scale_lr=dict(base_batch_size=2))
    options = ['--total-batch-size', '8', '--scale-rule', 'linear', '--dry-run']
    lines = run_tool('train.py', config, *options).splitlines()
    assert lines.count('total batch 8 = 1 rank x 2 images x 4 micro-batches') == 1
    (rate,) = (line.split() for line in lines if line.startswith('optim_wrapper.optimizer.lr'))
    assert rate[1:3] == ['0.1', '0.4']
    lines = run_tool('train.py', config, '--dry-run').splitlines()
    assert lines[-1] == 'total batch 2 = 1 rank x 2 images x 1 micro-batch'
    assert not (tmp_path / 'work').exists()


def test_a_dry_run_needs_no_weights_and_says_that_training_does(tmp_path: Path) -> None:
    config = launch_toy.write_config(tmp_path, load_from=str(tmp_path / 'start.pth'))
    refusal = f'{tmp_path}/start.pth cannot be loaded: there is no such file'
    lines = run_tool('train.py', config, '--dry-run').splitlines()
    assert 'total batch 2 = 1 rank x 2 images x 1 micro-batch' in lines
    (line,) = (line for line in lines if 'start.pth' in line)
    assert line.startswith(f'Training would stop: {refusal}; ')
    assert f'error: {refusal}; ' in run_tool('train.py', config, fails=True)
    torch.save({}, tmp_path / 'start.pth')
    assert 'would stop' not in run_tool('train.py', config, '--dry-run')


def test_a_dry_run_stops_where_there_is_nothing_to_resume_from(tmp_path: Path) -> None:
    config, missing = launch_toy.write_config(tmp_path), tmp_path / 'iter_2.pth'
    text = run_tool('train.py', config, '--dry-run', '--resume', missing, fails=True)
    assert f'error: {missing} cannot be resumed from: there is no such file' in text
