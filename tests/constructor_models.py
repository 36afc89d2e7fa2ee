"""Small real models for the constructors of MMEngine, MMDetection and MMSegmentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from networks import images
from torch import Tensor, nn

SIZE = 64
CLASSES = 3


def retinanet(backbone: dict[str, Any], channels: Sequence[int]) -> dict[str, Any]:
    """A RetinaNet round ``backbone``, whose last outputs have ``channels``."""
    return dict(
        type='RetinaNet',
        data_preprocessor=dict(
            type='DetDataPreprocessor',
            mean=[123.7, 116.3, 103.5],
            std=[58.4, 57.1, 57.4],
            pad_size_divisor=32,
        ),
        backbone=backbone,
        neck=dict(type='FPN', in_channels=list(channels), out_channels=16, num_outs=4),
        bbox_head=dict(
            type='RetinaHead',
            num_classes=CLASSES,
            in_channels=16,
            stacked_convs=1,
            feat_channels=16,
            norm_cfg=dict(type='GN', num_groups=4),
            anchor_generator=dict(
                type='AnchorGenerator',
                octave_base_scale=4,
                scales_per_octave=1,
                ratios=[1.0],
                strides=[4, 8, 16, 32],
            ),
            bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
        ),
        train_cfg=dict(
            assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0),
            sampler=dict(type='PseudoSampler'),
            allowed_border=-1,
            pos_weight=-1,
        ),
    )


def resnet(**options: Any) -> dict[str, Any]:
    """ResNet-18 with 8 channels; ``options`` as in mmdet."""
    return retinanet(
        dict(
            type='ResNet',
            depth=18,
            base_channels=8,
            init_cfg=None,
            **dict(
                dict(frozen_stages=-1, norm_cfg=dict(type='GN', num_groups=4)),
                **options,
            ),
        ),
        [8, 16, 32, 64],
    )


def swin() -> dict[str, Any]:
    """A Swin of one block a stage."""
    return retinanet(
        dict(
            type='SwinTransformer',
            embed_dims=8,
            depths=(1, 1, 1, 1),
            num_heads=(1, 1, 2, 2),
            window_size=4,
            drop_path_rate=0.0,
        ),
        [8, 16, 32, 64],
    )


@MODELS.register_module()
class ConvNeXtLayout(BaseModule):
    """The names of mmpretrain's ConvNeXt, by which layer-decay constructors know a layer."""

    def __init__(self, channels: Sequence[int] = (8, 16, 32, 64)) -> None:
        super().__init__()
        inputs = (3, *channels)
        self.downsample_layers = nn.ModuleList(
            nn.Sequential(
                nn.GroupNorm(1, given), nn.Conv2d(given, made, 2 * scale, stride=2 * scale)
            )
            for given, made, scale in zip(inputs, channels, (2, 1, 1, 1))
        )
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Sequential(nn.Conv2d(made, made, 3, padding=1), nn.GELU()))
            for made in channels
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        outputs = []
        for reduce, stage in zip(self.downsample_layers, self.stages):
            x = reduce(x)
            x = x + stage(x)
            outputs.append(x)
        return tuple(outputs)


def convnext_layout() -> dict[str, Any]:
    """Detector with the stand-in above."""
    return retinanet(dict(type='mmengine.ConvNeXtLayout'), [8, 16, 32, 64])


def convnext() -> dict[str, Any]:
    """Detector with mmpretrain's ConvNeXt of one block a stage."""
    return retinanet(
        dict(
            type='mmpretrain.ConvNeXt',
            arch=dict(depths=[1, 1, 1, 1], channels=[8, 16, 32, 64]),
            out_indices=[0, 1, 2, 3],
            layer_scale_init_value=1.0,
            gap_before_final_norm=False,
        ),
        [8, 16, 32, 64],
    )


def rtmdet() -> dict[str, Any]:
    """RTMDet, whose head has the same convolutions on every level."""
    norm = dict(type='BN')
    return dict(
        type='RTMDet',
        data_preprocessor=dict(
            type='DetDataPreprocessor', mean=[103.5, 116.3, 123.7], std=[57.4, 57.1, 58.4]
        ),
        backbone=dict(type='CSPNeXt', deepen_factor=0.167, widen_factor=0.125, norm_cfg=norm),
        neck=dict(
            type='CSPNeXtPAFPN',
            in_channels=[32, 64, 128],
            out_channels=16,
            num_csp_blocks=1,
            norm_cfg=norm,
        ),
        bbox_head=dict(
            type='RTMDetSepBNHead',
            num_classes=CLASSES,
            in_channels=16,
            stacked_convs=1,
            feat_channels=16,
            share_conv=True,
            norm_cfg=norm,
            anchor_generator=dict(type='MlvlPointGenerator', offset=0, strides=[8, 16, 32]),
            bbox_coder=dict(type='DistancePointBBoxCoder'),
            loss_cls=dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0, loss_weight=1.0),
            loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
            with_objectness=False,
        ),
        train_cfg=dict(
            assigner=dict(type='DynamicSoftLabelAssigner', topk=13),
            allowed_border=-1,
            pos_weight=-1,
        ),
    )


def beit() -> dict[str, Any]:
    """A segmentor with a BEiT of four layers."""
    return dict(
        _scope_='mmseg',
        type='EncoderDecoder',
        data_preprocessor=dict(
            type='SegDataPreProcessor',
            mean=[123.7, 116.3, 103.5],
            std=[58.4, 57.1, 57.4],
            size=(SIZE, SIZE),
        ),
        backbone=dict(
            type='BEiT',
            img_size=SIZE,
            patch_size=16,
            embed_dims=16,
            num_layers=4,
            num_heads=2,
            out_indices=(3,),
            init_values=0.1,
        ),
        decode_head=_fcn_head(0),
        auxiliary_head=_fcn_head(0, num_convs=0),
        train_cfg=dict(),
        test_cfg=dict(mode='whole'),
    )


def _fcn_head(index: int, num_convs: int = 1) -> dict[str, Any]:
    return dict(
        type='FCNHead',
        in_channels=16,
        in_index=index,
        channels=16,
        num_convs=num_convs,
        concat_input=False,
        dropout_ratio=0.0,
        num_classes=CLASSES,
        norm_cfg=dict(type='GN', num_groups=4),
        align_corners=False,
    )


def segmentation_batch(seed: Sequence[int], count: int = 2) -> dict[str, Any]:
    """One micro-batch of random images and class maps; ``seed`` names it."""
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    rng = np.random.default_rng(list(seed))
    samples = []
    for _ in range(count):
        sample = SegDataSample(metainfo=dict(img_shape=(SIZE, SIZE), ori_shape=(SIZE, SIZE)))
        classes = torch.from_numpy(rng.integers(0, CLASSES, (1, SIZE, SIZE)))
        sample.gt_sem_seg = PixelData(data=classes)
        samples.append(sample)
    return dict(inputs=images(rng, count, SIZE), data_samples=samples)
