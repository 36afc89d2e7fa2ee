"""A whole detector without batch statistics: images, ranks and micro-batches are alike."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import build_optim_wrapper
from networks import build_detector, detection_batch, retinanet_config
from ranks import run_ranks

import agvm_mm  # noqa: F401

pytest.importorskip('mmcv._ext', reason='mmdet needs the compiled ops of mmcv')


def nf_retinanet(norm: str | None = None) -> Any:
    """RetinaNet on NF-ResNet-18, or on ResNet-18 with ``norm``; standardised convolutions in it."""
    backbone: dict[str, Any] = dict(type='NFResNet', depth=18, base_channels=8)
    if norm is not None:
        backbone.update(type='ResNet', norm_cfg=dict(type=norm), frozen_stages=-1, norm_eval=False)
        backbone['init_cfg'] = None
    standardised = dict(conv_cfg=dict(type='ScaledWSConv2d'))
    config = retinanet_config()
    config.update(
        backbone=backbone,
        neck=dict(config['neck'], **standardised),
        bbox_head=dict(config['bbox_head'], **standardised),
    )
    config['test_cfg']['score_thr'] = 0.0
    model = build_detector(config)
    for name, p in model.named_parameters():
        if name.endswith('skipinit_gain'):  # at 0 the blocks would have nothing to show
            torch.nn.init.constant_(p, 0.5)
    return model


nf_retinanet()  # imported and built before ranks are forked


@pytest.mark.parametrize(('norm', 'alike'), [(None, True), ('BN', False)])
def test_n4_an_image_alone_and_in_a_batch(norm: str | None, alike: bool) -> None:
    """Feature maps and predictions in training mode, where batch normalisation mixes images."""
    model = nf_retinanet(norm).double().train()
    images = torch.rand(3, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        together = model(images, mode='tensor')
        alone = model(images[1:2], mode='tensor')
    pairs = [(a[1:2], b) for levels in zip(together, alone) for a, b in zip(levels[0], levels[1])]
    same = [torch.allclose(a, b, rtol=0, atol=1e-12) for a, b in pairs]
    assert len(same) == 10 and all(same) == alike


def _train(rank: int, ranks: int, updates: int = 3, total: int = 8) -> torch.Tensor:
    model = nf_retinanet()
    counts = total // ranks
    if ranks > 1:
        model = MMDistributedDataParallel(model, broadcast_buffers=False)
    config = dict(
        type='AGVMOptimWrapper',
        optimizer=dict(type='SGD', lr=0.02, momentum=0.9),
        clip_grad=dict(type='agc', clip_factor=0.02, exclude=['cls', 'skipinit_gain']),
        agvm=dict(interval=1, momentum=0.9),
        accumulative_counts=counts,
    )
    wrapper = build_optim_wrapper(model, config)
    wrapper.initialize_count_status(model, 0, updates * counts)
    for update in range(updates):
        for micro in range(counts):
            batch = detection_batch((update, rank * counts + micro), count=1)
            model.train_step(batch, wrapper)
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def test_eight_micro_batches_equal_eight_ranks_in_float32() -> None:
    """With AGVM and adaptive clipping; and 4 ranks x 2 micro-batches between the two."""
    weights, *others = [run_ranks(_train, ranks, ranks)[0] for ranks in (1, 4, 8)]
    start = torch.cat([p.detach().reshape(-1) for p in nf_retinanet().parameters()])
    assert (weights - start).norm() / start.norm() > 1e-3
    for other in others:
        assert (other - weights).norm() / weights.norm() <= 1e-6
