"""Small versions of MMDetection's and MMSegmentation's models with attention or masks."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import constructor_models
import numpy as np
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.model import revert_sync_batchnorm
from networks import build_detector, detection_batch

TRAINING = Path(__file__).resolve().parents[1] / 'training'
WIDTH, HEADS = 16, 2
ATTENTION = dict(embed_dims=WIDTH, num_heads=HEADS, dropout=0.0)
FFN = dict(embed_dims=WIDTH, feedforward_channels=32, ffn_drop=0.0)
BACKBONE = dict(
    depth=18,
    base_channels=8,
    frozen_stages=-1,
    norm_cfg=dict(type='GN', num_groups=4, _delete_=True),
    init_cfg=None,
)


def _of(config: str, **changes: Any) -> Any:
    found = get_config(config)
    found.merge_from_dict(dict(model=copy.deepcopy(changes)))  # which takes keys out of it
    model = found.model
    model['_scope_'] = config.partition('::')[0]
    return revert_sync_batchnorm(build_detector(model))


def detr() -> Any:
    """One layer each of encoder and decoder, ten queries."""
    layers = dict(self_attn_cfg=ATTENTION, ffn_cfg=FFN)
    return _of(
        'mmdet::detr/detr_r50_8xb2-150e_coco.py',
        num_queries=10,
        backbone=BACKBONE,
        neck=dict(in_channels=[64], out_channels=WIDTH),
        encoder=dict(num_layers=1, layer_cfg=layers),
        decoder=dict(num_layers=1, layer_cfg=dict(layers, cross_attn_cfg=ATTENTION)),
        positional_encoding=dict(num_feats=WIDTH // 2),
        bbox_head=dict(num_classes=3, embed_dims=WIDTH),
    )


def mask_rcnn() -> Any:
    """Whose mask head has a transposed convolution."""
    return build_detector(Config.fromfile(TRAINING / 'tiny_mask_rcnn.py').model)


def segmenter() -> Any:
    """Two layers in the backbone, one in the head."""
    size = constructor_models.SIZE
    return _of(
        'mmseg::segmenter/segmenter_vit-t_mask_8xb1-160k_ade20k-512x512.py',
        data_preprocessor=dict(size=(size, size)),
        pretrained=None,
        backbone=dict(img_size=(size, size), embed_dims=WIDTH, num_layers=2, num_heads=HEADS),
        decode_head=dict(
            in_channels=WIDTH,
            channels=WIDTH,
            embed_dims=WIDTH,
            num_layers=1,
            num_heads=HEADS,
            num_classes=constructor_models.CLASSES,
        ),
        test_cfg=dict(mode='whole', _delete_=True),
    )


def segformer() -> Any:
    """One layer a stage, with queries that look at fewer keys."""
    size = constructor_models.SIZE
    return _of(
        'mmseg::segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py',
        data_preprocessor=dict(size=(size, size)),
        backbone=dict(embed_dims=8, num_layers=[1] * 4, num_heads=[1, 1, 2, 2], init_cfg=None),
        decode_head=dict(
            in_channels=[8, 8, 16, 16],
            channels=WIDTH,
            num_classes=constructor_models.CLASSES,
        ),
    )


def boxes(seed: tuple[int, ...]) -> dict[str, Any]:
    """Two images with boxes."""
    return detection_batch(seed)


def masks(seed: tuple[int, ...]) -> dict[str, Any]:
    """Two images with boxes that are filled."""
    from mmdet.structures.mask import BitmapMasks

    batch = detection_batch(seed)
    for sample in batch['data_samples']:
        found = sample.gt_instances
        height, width = sample.img_shape
        filled = np.zeros((len(found), height, width), np.uint8)
        for plane, (left, top, right, bottom) in zip(filled, found.bboxes.int().tolist()):
            plane[top:bottom, left:right] = 1
        found.masks = BitmapMasks(filled, height, width)
    return batch


Batch = Callable[[tuple[int, ...]], dict[str, Any]]
# How it is made, its batches, what it keeps of its parameters, and layers without a call.
MODELS: dict[str, tuple[Callable[[], Any], Batch, set[str]]] = {
    'detr': (detr, boxes, {'query_embedding.weight'}),
    'mask-rcnn': (mask_rcnn, masks, set()),
    'segmenter': (
        segmenter,
        constructor_models.segmentation_batch,
        {'backbone.cls_token', 'backbone.pos_embed', 'decode_head.cls_emb'},
    ),
    'segformer': (segformer, constructor_models.segmentation_batch, set()),
}
