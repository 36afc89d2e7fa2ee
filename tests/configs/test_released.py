"""The released recipes are the authors', field by field."""

from __future__ import annotations

import math
from typing import Any

import pytest
from mmengine.config import ConfigDict
from recipes import PATHS, load, parse

pytestmark = pytest.mark.configs

# The authors' released configs, field by field: lr, warm-up updates, and what differs by detector.
RELEASED = {
    ('faster-rcnn', 256): (0.16 * math.sqrt(2), 920),
    ('faster-rcnn', 512): (0.38, 460),
    ('mask-rcnn', 256): (0.16 * math.sqrt(2), 920),
    ('mask-rcnn', 512): (0.32, 460),
}
COMMON = {
    'train_dataloader.batch_size': 16,
    'train_dataloader.num_workers': 10,
    'randomness.seed': 0,
    'train_cfg.max_epochs': 16,
    'optim_wrapper.optimizer.type': 'SGD',
    'optim_wrapper.optimizer.momentum': 0.9,
    'optim_wrapper.optimizer.weight_decay': 1e-4,
    'optim_wrapper.agvm.anchor': 'backbone',
    'optim_wrapper.agvm.estimator': 'half_split',
    'optim_wrapper.agvm.average': 'scale',
    'optim_wrapper.agvm.momentum': 0.97,
    'optim_wrapper.agvm.interval': 10,
    'optim_wrapper.agvm.clamp': (0.5, 10.0),
    'optim_wrapper.agvm.eps': 1e-6,
    'optim_wrapper.clip_grad.max_norm': 1.0,
    'optim_wrapper.clip_grad.norm_type': 2,
    'param_scheduler.0.type': 'ExponentialWarmupLR',
    'param_scheduler.0.ratio': 0.001,
    'param_scheduler.0.begin': 0,
    'param_scheduler.0.by_epoch': False,
    'param_scheduler.1.type': 'MultiStepLR',
    'param_scheduler.1.milestones': [12, 14],
    'param_scheduler.1.gamma': 0.1,
    'param_scheduler.1.by_epoch': True,
    'model.backbone.depth': 50,
    'model.backbone.frozen_stages': 1,
    'model.backbone.norm_eval': False,
    'model.backbone.norm_cfg.type': 'SyncBN',
    'model.backbone.norm_cfg.requires_grad': True,
    'model.backbone.init_cfg.checkpoint': 'torchvision://resnet50',
    'model.data_preprocessor.pad_size_divisor': 32,
    'model.rpn_head.loss_cls.use_sigmoid': False,
    'model.rpn_head.loss_bbox.type': 'SmoothL1Loss',
    'model.rpn_head.loss_bbox.beta': 1 / 9,
    'model.rpn_head.loss_bbox.loss_weight': 1.0,
    'model.roi_head.bbox_head.loss_bbox.type': 'SmoothL1Loss',
    'model.roi_head.bbox_head.loss_bbox.beta': 1.0,
    'model.roi_head.bbox_head.loss_bbox.loss_weight': 1.0,
    'model.train_cfg.rpn_proposal.max_per_img': 2000,
    'model.test_cfg.rpn.max_per_img': 1000,
    'model.test_cfg.rcnn.score_thr': 0.0,
}
BY_DETECTOR = {
    'faster-rcnn': {
        'model.roi_head.bbox_roi_extractor.roi_layer.sampling_ratio': 2,
        'model.train_cfg.rcnn.assigner.match_low_quality': False,
    },
    'mask-rcnn': {
        'model.roi_head.bbox_roi_extractor.roi_layer.sampling_ratio': 0,
        'model.roi_head.mask_roi_extractor.roi_layer.sampling_ratio': 2,
        'model.train_cfg.rcnn.assigner.match_low_quality': True,
    },
}


def pick(cfg: ConfigDict, dotted: str) -> Any:
    for key in dotted.split('.'):
        cfg = cfg[int(key)] if key.isdigit() else cfg[key]
    return cfg


@pytest.mark.parametrize(('detector', 'batch'), RELEASED)
def test_released_recipes_are_the_authors(detector: str, batch: int) -> None:
    [path] = [
        p
        for p in PATHS
        if (parse(p).algorithm, parse(p).method, parse(p).batch)
        == (detector, 'agvm-released', batch)
    ]
    cfg = load(path)
    rate, warm_up = RELEASED[detector, batch]
    table = {
        **COMMON,
        **BY_DETECTOR[detector],
        'total_batch_size': batch,
        'optim_wrapper.optimizer.lr': rate,
        'param_scheduler.0.end': warm_up,
        'optim_wrapper.agvm.begin': warm_up + 100,
        # clipped on updates warm_up - 100 to warm_up + 100, both included
        'optim_wrapper.clip_grad.begin': warm_up - 100,
        'optim_wrapper.clip_grad.end': warm_up + 101,
    }
    assert {key: pick(cfg, key) for key in table} == table
    assert 'end' not in cfg.optim_wrapper.agvm
    pipeline = {step.type: step for step in cfg.train_dataloader.dataset.pipeline}
    assert (pipeline['Resize'].scale, pipeline['Resize'].keep_ratio) == ((1333, 800), True)
    assert pipeline['RandomFlip'].prob == 0.5
    assert 'beta' not in cfg.model.rpn_head.loss_cls
    for norm in ('neck', 'rpn_head', 'roi_head'):
        assert 'norm_cfg' not in cfg.model[norm]
