"""Small versions of detectors whose heads share normalisers, and images for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmengine.hub import get_config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, DefaultScope
from torch import nn
from torch.overrides import TorchFunctionMode

CLASSES = 3
SIDE = 64
CONFIGS = {
    'FCOS': 'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
    'ATSS': 'atss/atss_r50_fpn_1x_coco.py',
    'RTMDet': 'rtmdet/rtmdet_tiny_8xb32-300e_coco.py',
    'DETR': 'detr/detr_r50_8xb2-150e_coco.py',
    'Deformable DETR': 'deformable_detr/deformable-detr_r50_16xb2-50e_coco.py',
    'DINO': 'dino/dino-4scale_r50_8xb2-12e_coco.py',
    'Mask2Former': 'mask2former/mask2former_r50_8xb2-lsj-50e_coco.py',
}

_CHANNELS = {256: 8, 512: 16, 1024: 32, 2048: 64, 96: 16, 192: 32, 384: 64}  # of a level
_VALUES = {
    'in_channels': 16,
    'out_channels': 16,
    'feat_channels': 16,
    'embed_dims': 16,
    'feedforward_channels': 32,
    'num_feats': 8,
    'num_groups': 4,
    'num_heads': 2,
    'num_layers': 2,
    'stacked_convs': 1,
    'dropout': 0.0,
    'ffn_drop': 0.0,
    'num_queries': 20,
    'num_dn_queries': 8,
    'num_points': 4,
    'num_classes': CLASSES,
    'num_things_classes': CLASSES,
    'batch_augments': None,
}
_RESNET = dict(depth=18, base_channels=8, frozen_stages=-1, style='pytorch', init_cfg=None)


def small_config(name: str) -> Any:
    """The ``model`` of a key of :data:`CONFIGS`, about as wide as a picture is high."""
    model = _shrunk(get_config(f'mmdet::{CONFIGS[name]}').model)
    if model.backbone.type == 'ResNet':
        model.backbone.update(_RESNET)
        model.backbone.norm_cfg.requires_grad = True
    else:
        model.backbone.update(widen_factor=0.0625, init_cfg=None)
        model.bbox_head.exp_on_reg = True  # or the first boxes are empty, and nothing is counted
    if name in ('FCOS', 'ATSS'):
        model.bbox_head.norm_cfg = dict(type='GN', num_groups=4)
    if 'DETR' in name or name == 'DINO':
        model.bbox_head.embed_dims = 16
    if 'panoptic_head' in model:
        model.panoptic_head.loss_cls.class_weight = [1.0] * CLASSES + [0.1]
        model.train_cfg.num_points = 64
    return model


def build_small(name: str, seed: int = 0) -> nn.Module:
    """The detector in training mode, the same weights on every rank."""
    import mmdet.models  # noqa: F401  registers the detectors

    torch.manual_seed(seed)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model: nn.Module = revert_sync_batchnorm(MODELS.build(small_config(name)))
    return model.train()


class InFloat64(TorchFunctionMode):
    """Lets everything work in float64, also where code asks for float32; entered as a context."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call ``func`` with the wider type."""
        wide = [torch.float64 if value is torch.float32 else value for value in args]
        named = {
            key: torch.float64 if value is torch.float32 else value
            for key, value in (kwargs or {}).items()
        }
        function: Any = torch.Tensor.double if func is torch.Tensor.float else func
        return function(*wide, **named)

    def __enter__(self) -> Any:
        """Make float64 the default too."""
        torch.set_default_dtype(torch.float64)
        return super().__enter__()  # type: ignore[no-untyped-call]

    def __exit__(self, *error: Any) -> None:
        """Go back to float32."""
        torch.set_default_dtype(torch.float32)
        super().__exit__(*error)  # type: ignore[no-untyped-call]


def _shrunk(value: Any, key: str = '') -> Any:
    if isinstance(value, dict):
        for name in value:
            value[name] = _shrunk(value[name], name)
    elif key == 'in_channels' and isinstance(value, list):
        return [_CHANNELS[channels] for channels in value]
    elif key in _VALUES:
        return _VALUES[key]
    return value


def picture(
    seed: int, objects: int, masks: bool = False, side: int = SIDE, classes: int = CLASSES
) -> dict[str, Any]:
    """An image of ``side`` pixels with ``objects`` boxes, as a data set gives it."""
    from mmdet.structures import DetDataSample
    from mmdet.structures.bbox import HorizontalBoxes
    from mmdet.structures.mask import BitmapMasks
    from mmengine.structures import InstanceData

    rng = np.random.default_rng(seed)
    corner = rng.integers(0, side // 2, (objects, 2))
    boxes = np.hstack([corner, corner + rng.integers(8, side // 2, (objects, 2))])
    shape = (side, side)
    sample = DetDataSample(
        metainfo=dict(img_id=seed, img_shape=shape, ori_shape=shape, scale_factor=(1.0, 1.0))
    )
    sample.gt_instances = InstanceData(
        bboxes=HorizontalBoxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)),
        labels=torch.tensor(rng.integers(0, classes, objects)).long(),
    )
    if masks:
        areas = np.zeros((objects, side, side), dtype=np.uint8)
        for area, (left, top, right, bottom) in zip(areas, boxes):
            area[top:bottom, left:right] = 1
        sample.gt_instances.masks = BitmapMasks(areas, side, side)
    image = rng.integers(0, 256, (3, side, side), dtype=np.uint8)
    return dict(inputs=torch.from_numpy(image), data_samples=sample)
