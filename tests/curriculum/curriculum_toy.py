"""A model with one weight on images of any size, so that every update can be worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import BaseDataPreprocessor, BaseModel
from mmengine.runner import FlexibleRunner, Runner
from torch import nn
from torch.utils.data import Dataset

from agvm_mm.curriculum.augmentation import GrowingAugment
from agvm_mm.curriculum.preprocessor import LowFrequencyMixin


class Level:
    """A transform that writes its level down."""

    level = 99

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        results['data_samples'] = float(self.level)
        return results


class Images(Dataset):
    """Image i is i everywhere; its sample is the level of augmentation, -1 for none."""

    def __init__(self, length: int = 8) -> None:
        self.length = length
        self.pipeline = [GrowingAugment([Level()])]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        results: dict[str, Any] = dict(inputs=torch.full((1, 16, 16), float(index)))
        results['data_samples'] = -1.0
        for transform in self.pipeline:
            results = transform(results)
        return results


class Preprocessor(LowFrequencyMixin, BaseDataPreprocessor):
    """Leaves the samples, which are levels, as they are."""

    def _shrink(self, data: dict[str, Any]) -> dict[str, Any]:
        small = super()._shrink({'inputs': data['inputs']})
        return {**data, 'inputs': small['inputs']}


class OneWeight(BaseModel):
    """loss = weight x mean of the images, so the gradient is that mean."""

    def __init__(self, preprocessor: Any = None) -> None:
        super().__init__(data_preprocessor=preprocessor or Preprocessor())
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = 'tensor') -> Any:
        return dict(loss=(self.weight * torch.stack(list(inputs)).mean()).sum())


class Record(Hook):
    """What each iteration was made with."""

    priority = 'VERY_LOW'

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        self.rows.append(
            dict(
                levels=list(data_batch['data_samples']),
                images=[float(image.mean()) for image in data_batch['inputs']],
                ratio=runner.model.data_preprocessor.ratio,
                lr=runner.optim_wrapper.optimizer.param_groups[0]['lr'],
                before=float(runner.model.weight),
            )
        )

    def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        self.rows[-1].update(
            after=float(runner.model.weight),
            next_lr=runner.optim_wrapper.optimizer.param_groups[0]['lr'],
        )


def run(
    work_dir: Path,
    curriculum: dict[str, Any] | None,
    *,
    workers: int = 0,
    model: BaseModel | None = None,
    images: int = 2,
    train_cfg: dict[str, Any] | None = None,
    flexible: bool = False,
    scheduler_hook: str = 'ComputeParamSchedulerHook',
    **kwargs: Any,
) -> list[dict[str, Any]]:
    """Train the toy, four iterations an epoch, and return the rows of :class:`Record`."""
    record = Record()
    hooks: list[Any] = [record]
    if curriculum is not None:
        hooks.append(dict(type='CurriculumHook', **curriculum))
    train_cfg = train_cfg or dict(by_epoch=True, max_epochs=4)
    # Without epochs MMEngine waits for seconds where a finite sampler ends.
    sampler = 'DefaultSampler' if train_cfg['by_epoch'] else 'InfiniteSampler'
    entries: dict[str, Any] = dict(
        model=model or OneWeight(),
        work_dir=str(work_dir),
        train_dataloader=dict(
            batch_size=images,
            num_workers=workers,
            persistent_workers=workers > 0,
            dataset=Images(),
            sampler=dict(type=sampler, shuffle=False),
            collate_fn=dict(type='pseudo_collate'),
        ),
        train_cfg=train_cfg,
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1.0)),
        default_hooks=dict(param_scheduler=dict(type=scheduler_hook), logger=None, checkpoint=None),
        custom_hooks=hooks,
        experiment_name=f'{work_dir.parent.name}_{work_dir.name}',
        randomness=dict(seed=0),
        log_level='ERROR',
        default_scope='mmengine',
    )
    (FlexibleRunner if flexible else Runner)(**{**entries, **kwargs}).train()
    return record.rows


def gradient(row: dict[str, Any]) -> float:
    return sum(row['images']) / len(row['images'])
