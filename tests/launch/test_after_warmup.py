"""AGVM begins after the warm-up, which the launch turns into an update."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import launch_toy
import pytest
from mmengine.config import Config
from rescale_recipe import by_iteration, launch, plain

from agvm_mm.launch.errors import LaunchError
from agvm_mm.launch.runner import build_runner


class TestAfterWarmUp:
    @staticmethod
    def recipe(begin: str, warmup: dict[str, Any], **keys: Any) -> Config:
        wrapper = dict(plain(), type='AGVMOptimWrapper', agvm=dict(begin=begin, **keys))
        return by_iteration(optim_wrapper=wrapper, param_scheduler=[warmup])

    @pytest.mark.parametrize(
        ('begin', 'end', 'update'),
        [
            ('after_warmup', 1500, 1600),
            ('after_warmup', 60, 75),
            ('after_warmup+7', 60, 67),
            ('after_warmup + 0', 60, 60),
        ],
    )
    def test_in_iterations(self, begin: str, end: int, update: int) -> None:
        cfg = self.recipe(begin, dict(type='LinearLR', by_epoch=False, end=end))
        (note,) = launch(cfg)
        assert cfg.optim_wrapper.agvm.begin == update
        assert str(update) in note.text

    @pytest.mark.parametrize(
        ('keys', 'update'),
        [
            (dict(total_steps=100, end=100), 30),  # torch's share of the rise
            (dict(total_steps=200, pct_start=0.25, begin=10, end=500), 60),
            (dict(pct_start=0.25, begin=10, end=210), 60),
        ],
    )
    def test_one_cycle_rises_at_first(self, keys: dict[str, Any], update: int) -> None:
        cycle = dict(type='OneCycleLR', eta_max=0.4, by_epoch=False, **keys)
        cfg = self.recipe('after_warmup+0', cycle)
        launch(cfg)
        assert cfg.optim_wrapper.agvm.begin == update

    def test_in_epochs(self) -> None:
        """COCO at 32 and at 1536: the numbers of the recipes."""
        warmup = dict(type='ExponentialWarmupLR', ratio=0.001, end=2, convert_to_iter_based=True)
        for batch, begin, interval in ((32, 7330 + 100, 10), (1536, 154 + 38, 5)):
            cfg = self.recipe('after_warmup', dict(warmup), interval='by_batch')
            cfg.auto_scale_lr.epoch_images = 117266
            launch(cfg, batch, 'none')
            assert cfg.optim_wrapper.agvm == dict(begin=begin, interval=interval)

    @pytest.mark.usefixtures('quick_start')
    def test_the_data_set_tells_the_epoch(self, tmp_path: Path) -> None:
        cfg = launch_toy.config(
            tmp_path,
            optim_wrapper=self.recipe('after_warmup', {}).optim_wrapper,
            param_scheduler=[dict(type='LinearLR', end=1)],
        )
        cfg.launcher = 'none'
        launch(cfg, 4)
        assert cfg.optim_wrapper.agvm.begin == 16 + 4  # 64 images by 4
        cfg.optim_wrapper.agvm.update(
            modules=dict(weight=['conv.weight'], bias=['conv.bias']), anchor='weight'
        )
        build_runner(cfg, []).train()

    def test_no_data_set(self) -> None:
        cfg = self.recipe('after_warmup', dict(type='LinearLR', end=1))
        cfg.train_dataloader.dataset = dict(type='mmdet.CocoDataset', ann_file='nowhere.json')
        cfg.default_scope = 'mmdet'
        with pytest.raises(LaunchError, match='cannot be read .*set auto_scale_lr.epoch_images'):
            launch(cfg)

    def test_no_warm_up(self) -> None:
        with pytest.raises(LaunchError, match="begin is 'after_warmup' and no entry"):
            launch(self.recipe('after_warmup', dict(type='PolyLR', by_epoch=False, end=9)))

    def test_it_follows_the_rescaled_warm_up(self) -> None:
        cfg = self.recipe('after_warmup+5', dict(type='LinearLR', by_epoch=False, end=1500))
        launch(cfg, 64, 'sqrt')
        assert cfg.optim_wrapper.agvm.begin == 380
