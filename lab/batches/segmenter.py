"""The model of the benchmark, a tiny Semantic FPN, and its score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from .images import split
from .scenes import CLASSES, SIZE, VOID, Scenes

CONFIG = Path(__file__).resolve().parents[2] / 'configs/_base_/models/fpn_r18_tiny.py'


def build_model(seed: int) -> nn.Module:
    """The segmenter in training mode, from random weights."""
    init_default_scope('mmseg')
    config = Config.fromfile(CONFIG).model
    config.decode_head.num_classes = CLASSES
    config.data_preprocessor.size = (SIZE, SIZE)
    torch.manual_seed(seed)
    model: Any = MODELS.build(config)
    model.init_weights()
    built: nn.Module = model.train()
    return built


@torch.no_grad()
def evaluate(
    model: Any, scenes: Scenes, classes: int = CLASSES, batch: int = 128
) -> dict[str, float]:
    """MMSegmentation's scores in percent; leaves the model in training mode."""
    from mmseg.evaluation import IoUMetric

    model.eval()
    areas = []
    for part in split(scenes, batch):
        found = model.test_step(part.as_data())
        for sample, truth in zip(found, part.maps):
            labels = sample.pred_sem_seg.data.squeeze(0)
            areas.append(IoUMetric.intersect_and_union(labels, truth, classes, VOID))
    model.train()
    metrics = IoUMetric.total_area_to_metrics(*map(sum, zip(*areas)), metrics=['mIoU'])
    iou = torch.as_tensor(metrics['IoU']).double()
    return {'mIoU': 100 * float(iou.nanmean()), 'aAcc': 100 * float(metrics['aAcc'])}
