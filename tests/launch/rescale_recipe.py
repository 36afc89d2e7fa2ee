"""A recipe with every kind of number that is rescaled, and its launch."""

from __future__ import annotations

import logging
from typing import Any

from mmengine.config import Config

from agvm_mm.launch.errors import Note
from agvm_mm.launch.record import TrainOptions
from agvm_mm.launch.runner import prepare_training

SQRT = dict(enable=True, base_batch_size=16, rule='sqrt')


def by_iteration(**overrides: Any) -> Config:
    """A recipe for 16 images an update, by iteration, as MMSegmentation writes them."""
    entries: dict[str, Any] = dict(
        work_dir='unused',
        launcher='none',
        train_dataloader=dict(batch_size=2),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=80000, val_interval=8000),
        optim_wrapper=dict(
            type='AGVMOptimWrapper',
            optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0005),
            agvm=dict(begin=1600, interval=10, end=40000),
            clip_grad=dict(max_norm=35, begin=1400, end=1601),
        ),
        param_scheduler=[
            dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=1500),
            dict(type='PolyLR', eta_min=1e-4, power=0.9, by_epoch=False, begin=1500, end=80000),
        ],
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=50),
            checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=8000),
        ),
        custom_hooks=[dict(type='EMAHook', momentum=0.001, begin_iter=800)],
        auto_scale_lr=dict(enable=False, base_batch_size=16),
    )
    return Config({**entries, **overrides})


def launch(cfg: Config, total: int | None = None, rule: str | None = None) -> list[Note]:
    return prepare_training(cfg, TrainOptions(total_batch_size=total, scale_rule=rule))


def warned(notes: list[Note]) -> list[str]:
    return [note.text for note in notes if note.level == logging.WARNING]


def plain(**keys: Any) -> dict[str, Any]:
    return dict(optimizer=dict(type='SGD', lr=0.1, **keys))
