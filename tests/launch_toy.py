"""A model, a dataset and hooks so small that a launch costs little more than its processes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from listening import listening_addresses
from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, HOOKS, METRICS, MODELS
from torch import Tensor, nn
from torch.utils.data import Dataset

IMAGES = 64


@DATASETS.register_module()
class LaunchToyDataset(Dataset):
    """Fixed random pairs: item i is the same in every process."""

    def __init__(self, length: int = IMAGES) -> None:
        generator = torch.Generator().manual_seed(3)
        self.inputs = torch.randn(length, 2, 3, 3, generator=generator)
        self.targets = torch.randn(length, 1, generator=generator)

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return dict(inputs=self.inputs[index], targets=self.targets[index])


@MODELS.register_module()
class LaunchToyModel(BaseModel):
    """One convolution; with a norm layer on request."""

    def __init__(self, norm_cfg: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 3)
        nn.init.constant_(self.conv.weight, 0.1)
        nn.init.zeros_(self.conv.bias)
        self.norm: nn.Module = nn.Identity()
        if norm_cfg is not None:
            from mmcv.cnn import build_norm_layer

            self.norm = build_norm_layer(norm_cfg, 2)[1]

    def forward(self, inputs: Tensor, targets: Tensor, mode: str = 'tensor') -> Any:
        out = self.conv(self.norm(inputs)).flatten(1)
        if mode == 'loss':
            return dict(loss=(out - targets).square().mean())
        return [dict(out=value.tolist()) for value in out]


@METRICS.register_module()
class LaunchToyMetric(BaseMetric):
    """Counts the predictions."""

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results += list(data_samples)

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        return dict(count=float(len(results)))


@HOOKS.register_module()
class UpdateRecorder(Hook):
    """Writes learning rate and weights of every update to ``updates_<rank>.json``."""

    priority = 'ABOVE_NORMAL'  # before the schedules step

    def __init__(self) -> None:
        self.updates: list[dict[str, Any]] = []

    def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        if runner.optim_wrapper.should_update():
            weights = [p.detach().flatten()[:20].tolist() for p in runner.model.parameters()]
            lr = runner.optim_wrapper.get_lr()['lr'][0]
            self.updates.append(dict(lr=lr, weights=sum(weights, [])))

    def after_train(self, runner: Any) -> None:
        file = Path(runner.work_dir) / f'updates_{get_rank()}.json'
        file.write_text(json.dumps(self.updates))


@HOOKS.register_module()
class RaiseOnRank(Hook):
    """Raises in the second iteration of one rank."""

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        if runner.iter == 1 and get_rank() == self.rank:
            raise RuntimeError(f'raised on purpose on rank {self.rank}')


@HOOKS.register_module()
class RecordListening(Hook):
    """Writes to ``listening_<rank>.json`` where this rank and what started it can be reached."""

    def after_train(self, runner: Any) -> None:
        found = [listening_addresses(pid) for pid in (os.getpid(), os.getppid())]
        file = Path(runner.work_dir) / f'listening_{get_rank()}.json'
        file.write_text(json.dumps(found))


def config(work_dir: Path, **overrides: Any) -> Config:
    """Six updates of two images per rank; ``overrides`` replace whole entries."""
    loader = dict(
        batch_size=2,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='default_collate'),
        dataset=dict(type='LaunchToyDataset'),
    )
    entries = dict(
        custom_imports=dict(imports=['launch_toy'], allow_failed_imports=False),
        default_scope='mmengine',
        work_dir=str(work_dir),
        model=dict(type='LaunchToyModel'),
        train_dataloader=loader,
        train_cfg=dict(by_epoch=False, max_iters=6),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=3)),
        custom_hooks=[dict(type='UpdateRecorder')],
        env_cfg=dict(dist_cfg=dict(backend='nccl')),
        randomness=dict(seed=0),
    )
    return Config({**entries, **overrides})


def write_config(folder: Path, **overrides: Any) -> Path:
    """:func:`config` as a file in ``folder``, with the work directory ``folder/work``."""
    file = folder / 'toy.py'
    config(folder / 'work', **overrides).dump(str(file))
    return file


def recorded(work_dir: Path, rank: int = 0) -> list[dict[str, Any]]:
    """What :class:`UpdateRecorder` wrote."""
    updates: list[dict[str, Any]] = json.loads((work_dir / f'updates_{rank}.json').read_text())
    return updates


@DATASETS.register_module()
class LaunchToySegmentation(Dataset):
    """Small random images with two classes."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, Any]:
        from mmengine.structures import PixelData
        from mmseg.structures import SegDataSample

        generator = torch.Generator().manual_seed(index)
        labels = torch.randint(0, 2, (1, 32, 32), generator=generator)
        sample = SegDataSample(gt_sem_seg=PixelData(data=labels))
        return dict(inputs=torch.rand(3, 32, 32, generator=generator), data_samples=sample)
