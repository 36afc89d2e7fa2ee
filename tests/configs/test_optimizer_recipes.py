"""The optimizer, the wrapper and the schedule of every recipe take two updates through a Runner.

The network is replaced by one of four layers that has the modules which AGVM looks for, and the
data by random tensors; the batch is two micro-batches of one image. All the rest of the recipe goes
through the code of tools/train.py.
"""

from __future__ import annotations

import math
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from cpu_amp import on_cpu
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, MODELS
from recipes import every_recipe, load
from torch import Tensor, nn
from torch.utils.data import Dataset

from agvm_mm.launch.runner import TrainOptions, build_runner, prepare_training

pytestmark = [pytest.mark.configs, pytest.mark.slow]

MICRO_BATCHES, UPDATES = 2, 2
MODULES = {'backbone', 'neck', 'head'}


@DATASETS.register_module()
class RecipePairs(Dataset):
    """Eight fixed random pairs."""

    metainfo: dict[str, Any] = {}

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(5)
        self.pairs = torch.randn(8, 2, 6, generator=generator)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        inputs, targets = self.pairs[index]
        return dict(inputs=inputs, targets=targets)


@MODELS.register_module()
class RecipeNetwork(BaseModel):
    """Backbone of two layers, the first with the name of a Swin stage; neck; head."""

    def __init__(self) -> None:
        super().__init__()
        first = nn.ModuleDict({'blocks': nn.Linear(6, 8)})
        self.backbone = nn.ModuleDict({'stages': nn.ModuleList([first]), 'norm3': nn.LayerNorm(8)})
        self.neck = nn.Linear(8, 8)
        self.head = nn.Linear(8, 6)

    def forward(self, inputs: Tensor, targets: Tensor, mode: str = 'tensor') -> Any:
        features = self.backbone['norm3'](self.backbone['stages'][0]['blocks'](inputs))
        out = self.head(self.neck(features).relu())
        return dict(loss=(out - targets).square().mean()) if mode == 'loss' else out


def reduced(path: Path, work_dir: Path) -> Any:
    """The recipe with the small network and data; optimizer and schedules as they are."""
    cfg = deepcopy(load(path))  # the other tests read the same object
    cfg.launcher = 'none'
    cfg.work_dir = str(work_dir)
    cfg.experiment_name = f'{path.stem}_optimizer'
    cfg.model = dict(type='RecipeNetwork')
    cfg.total_batch_size = MICRO_BATCHES
    cfg.train_dataloader = dict(
        batch_size=1,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=True),
        collate_fn=dict(type='default_collate'),
        dataset=dict(type='RecipePairs'),
    )
    cfg.default_scope = 'mmengine'
    if cfg.train_cfg.get('max_iters'):
        cfg.train_cfg = dict(by_epoch=False, max_iters=UPDATES)
    else:
        cfg.train_cfg = dict(by_epoch=True, max_epochs=1)
        cfg.train_dataloader['num_batch_per_epoch'] = UPDATES * MICRO_BATCHES
    for part in ('val', 'test'):
        for name in ('dataloader', 'cfg', 'evaluator'):
            cfg[f'{part}_{name}'] = None
    cfg.default_hooks = dict(checkpoint=None, logger=dict(type='LoggerHook', interval=1))
    cfg.visualizer = cfg.custom_hooks = None
    cfg.log_processor = {}
    cfg.pop('data_preprocessor', None)
    # A long warm-up begins with steps that no float32 shows.
    cfg.optim_wrapper.optimizer.lr *= 100
    if cfg.optim_wrapper.get('agvm') is not None:
        cfg.optim_wrapper.agvm.update(begin=0, interval=1)
    return cfg


@pytest.fixture(autouse=True)
def _quick_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """No compilers are asked for their versions and no config is written: half of the time."""
    monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)
    monkeypatch.setattr(Config, 'pretty_text', '')


@every_recipe
def test_two_updates(path: Path, tmp_path: Path) -> None:
    cfg = reduced(path, tmp_path)
    measured = cfg.optim_wrapper.get('agvm') is not None
    with on_cpu(cfg.optim_wrapper.type):
        runner = build_runner(cfg, prepare_training(cfg, TrainOptions(seed=0)))
        before = [p.detach().clone() for p in runner.model.parameters()]
        runner.train()
    hub = runner.message_hub
    losses = hub.get_scalar('train/loss').data[0]
    rates = hub.get_scalar('train/lr').data[0]
    assert len(losses) == UPDATES * MICRO_BATCHES
    assert all(map(math.isfinite, losses))
    assert all(map(torch.isfinite, map(torch.sum, runner.model.parameters())))
    moved = [not torch.equal(p, old) for p, old in zip(runner.model.parameters(), before)]
    assert all(moved)
    # The warm-up holds within a micro-batch and rises between updates.
    assert rates[0] == rates[1] < rates[2] == rates[3]
    assert rates[0] >= 0.001 * 0.99 * min(group['initial_lr'] for group in groups(runner))
    found = {name.split('/')[-1] for name in hub.log_scalars if 'agvm/phi/' in name}
    assert found == (MODULES if measured else set())


def groups(runner: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = runner.optim_wrapper.optimizer.param_groups
    return found
