"""The model of the benchmark, a tiny Semantic FPN, and its score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from .scenes import CLASSES, SIZE, VOID, Scenes, as_data

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
def evaluate(model: Any, scenes: Scenes, batch: int = 128) -> dict[str, float]:
    """MMSegmentation's scores in percent; leaves the model in training mode."""
    from mmseg.evaluation import IoUMetric

    model.eval()
    areas = []
    for images, maps in zip(scenes.images.split(batch), scenes.maps.split(batch)):
        found = model.test_step(as_data(Scenes(images, maps)))
        for sample, truth in zip(found, maps):
            labels = sample.pred_sem_seg.data.squeeze(0)
            areas.append(IoUMetric.intersect_and_union(labels, truth, CLASSES, VOID))
    model.train()
    metrics = IoUMetric.total_area_to_metrics(*map(sum, zip(*areas)), metrics=['mIoU'])
    iou = torch.as_tensor(metrics['IoU']).double()
    return {'mIoU': 100 * float(iou.nanmean()), 'aAcc': 100 * float(metrics['aAcc'])}
