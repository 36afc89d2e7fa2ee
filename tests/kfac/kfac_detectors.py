"""Small real detectors with batch normalisation, in-place ReLU and a frozen stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from networks import build_detector, detection_batch, tiny_retinanet

from agvm_mm import AGVMOptimWrapper
from agvm_mm.parts import KFACPart

ROOT = Path(__file__).resolve().parents[2]
BACKBONE = dict(
    type='ResNet',
    depth=18,
    base_channels=8,
    frozen_stages=1,
    norm_eval=False,
    init_cfg=None,
    norm_cfg=dict(type='BN', requires_grad=True),
)


def faster_rcnn(**backbone: Any) -> Any:
    config = Config.fromfile(ROOT / 'configs/_base_/models/faster-rcnn_r18_fpn_small.py')
    config.merge_from_dict(
        dict(
            model=dict(
                neck=dict(in_channels=[8, 16, 32, 64], out_channels=16),
                rpn_head=dict(in_channels=16, feat_channels=16),
                roi_head=dict(
                    bbox_roi_extractor=dict(out_channels=16),
                    bbox_head=dict(in_channels=16, fc_out_channels=32, num_classes=3),
                ),
                train_cfg=dict(
                    rpn=dict(sampler=dict(num=32)),
                    rpn_proposal=dict(nms_pre=100, max_per_img=50),
                    rcnn=dict(sampler=dict(num=16)),
                ),
            )
        )
    )
    model = config.model
    model['backbone'] = dict(BACKBONE, **backbone)
    return build_detector(model)


def retinanet(**backbone: Any) -> Any:
    """The RetinaNet of the other tests, with another backbone."""
    network = tiny_retinanet()
    network.backbone = build_detector(
        dict(
            type='RetinaNet',
            data_preprocessor=dict(type='DetDataPreprocessor'),
            backbone=dict(BACKBONE, **backbone),
            neck=dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=16, num_outs=5),
            bbox_head=dict(type='RetinaHead', num_classes=3, in_channels=16),
        )
    ).backbone
    return network


DETECTORS = {'faster-rcnn': faster_rcnn, 'retinanet': retinanet}
KFAC = dict(
    damping=0.05,
    momentum=0.9,
    statistics_interval=1,
    inverse_interval=2,
    kl_clip=1e-3,
)


def without_objects(batch: dict[str, Any]) -> dict[str, Any]:
    """The same images with nothing on them: no positives anywhere."""
    for sample in batch['data_samples']:
        sample.gt_instances = sample.gt_instances[:0]
    return batch


def train(
    rank: int,
    ranks: int,
    kind: str,
    updates: int,
    empty: tuple[int, ...] = (),
    agvm: dict[str, Any] | None = None,
    backbone: dict[str, Any] | None = None,
    **kfac: Any,
) -> dict[str, Any]:
    """Losses, weights and the preconditioner after ``updates`` updates of two images a rank.

    Args:
        empty: updates whose images hold no object.
    """
    torch.manual_seed(0)
    network = DETECTORS[kind](**(backbone or {}))
    model = MMDistributedDataParallel(network) if ranks > 1 else network
    wrapper = AGVMOptimWrapper(
        torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9),
        agvm=agvm,
        kfac={**KFAC, **kfac},
    )
    wrapper.initialize_count_status(model, 0, updates)
    losses = []
    for update in range(updates):
        torch.manual_seed(100 * update + rank)  # RoI sampling
        batch = detection_batch((update % 4, rank), count=2)
        found = model.train_step(without_objects(batch) if update in empty else batch, wrapper)
        losses.append(float(found['loss'].detach()))
    part = wrapper.part(KFACPart).preconditioner
    return dict(
        losses=losses,
        weights=torch.cat([p.detach().reshape(-1) for p in network.parameters()]),
        solved={layer.name: layer.solved for layer in part.layers},
        left=part.left,
        skipped=part.skipped,
        factors={layer.name: layer.factors for layer in part.layers},
    )
