"""A model of two weights on data of two numbers: its gradients are the data, loss = <w, x>."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, MODELS
from torch import Tensor, nn
from torch.utils.data import Dataset

MEAN = torch.tensor([1.0, 2.0])


@DATASETS.register_module(force=True)
class QualityToyData(Dataset):
    """Item i is the same everywhere: unit noise about the mean, times ``scale``."""

    def __init__(self, scale: float = 1.0) -> None:
        noise = torch.randn(32, 2, generator=torch.Generator().manual_seed(3))
        self.items = MEAN + scale * noise

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return dict(inputs=self.items[index])


class _Weight(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))


@MODELS.register_module(force=True)
class QualityToyModel(BaseModel):
    """Two modules of a weight each."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = _Weight(), _Weight()

    def forward(self, inputs: Tensor, mode: str = 'tensor') -> Any:
        parts = inputs.mean(0) * torch.stack([self.backbone.weight, self.head.weight])
        return dict(loss=parts.sum())


def write_config(folder: Path, scale: float = 1.0, **wrapper: Any) -> Path:
    """A config of four images at learning rate 0.4; ``wrapper`` goes into ``optim_wrapper``."""
    loader = dict(
        batch_size=4,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='default_collate'),
        dataset=dict(type='QualityToyData', scale=scale),
    )
    entries = dict(
        default_scope='mmengine',
        model=dict(type='QualityToyModel'),
        train_dataloader=loader,
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.4), **wrapper),
    )
    path = folder / 'quality_toy_config.py'
    Config(entries).dump(str(path))
    return path
