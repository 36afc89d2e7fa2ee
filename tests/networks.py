"""Networks for tests: one that replays prescribed gradients, and small real detectors."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from torch import Tensor, nn


class _Weights(nn.Module):
    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(values.clone())


class ReplayNet(BaseModel):
    """Modules whose gradient is what the data says: loss = <weights, gradient>.

    Args:
        sizes: number of weights by module name, in order.
        initial: all weights, flat.
    """

    def __init__(self, sizes: dict[str, int], initial: Tensor) -> None:
        super().__init__()
        self._sizes = sizes
        for name, values in zip(sizes, initial.split(list(sizes.values()))):
            self.add_module(name, _Weights(values))

    def flat(self) -> Tensor:
        return torch.cat([getattr(self, name).weight.detach() for name in self._sizes])

    def forward(
        self, inputs: Sequence[Tensor], data_samples: Any = None, mode: str = 'tensor'
    ) -> Any:
        """Mean over images of <weights, gradient>; NaN entries leave their module unused."""
        losses = {}
        for name, part in zip(
            self._sizes, torch.stack(list(inputs)).mean(0).split(list(self._sizes.values()))
        ):
            losses[f'loss_{name}'] = (getattr(self, name).weight * part).sum()
        return losses


def images(
    rng: np.random.Generator, count: int, size: int, dtype: torch.dtype = torch.float32
) -> list[Tensor]:
    """Random images of ``size`` x ``size`` pixels, 0 to 255."""
    return [torch.from_numpy(rng.uniform(0, 255, (3, size, size))).to(dtype) for _ in range(count)]


def boxes(rng: np.random.Generator, count: int, size: int, classes: int) -> Any:
    """Ground truth of ``count`` random boxes, as mmdet's data samples hold it."""
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    corner = rng.uniform(0, size * 0.6, (count, 2))
    extent = rng.uniform(size * 0.15, size * 0.4, (count, 2))
    sample = DetDataSample(
        metainfo=dict(
            img_shape=(size, size),
            ori_shape=(size, size),
            pad_shape=(size, size),
            batch_input_shape=(size, size),
            scale_factor=(1.0, 1.0),
            img_id=0,
            flip=False,
        )
    )
    sample.gt_instances = InstanceData(
        bboxes=torch.tensor(np.hstack([corner, corner + extent]), dtype=torch.float32).reshape(
            -1, 4
        ),
        labels=torch.tensor(rng.integers(0, classes, count)).long(),
    )
    sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long())
    return sample


def detection_batch(
    seed: Sequence[int], count: int = 2, size: int = 64, classes: int = 3
) -> dict[str, Any]:
    """One micro-batch of random images with one to three boxes each; ``seed`` names it."""
    rng = np.random.default_rng(list(seed))
    return dict(
        inputs=images(rng, count, size),
        data_samples=[boxes(rng, int(rng.integers(1, 4)), size, classes) for _ in range(count)],
    )


_BACKBONE = dict(
    type='ResNet',
    depth=18,
    base_channels=8,
    frozen_stages=-1,
    init_cfg=None,
    norm_cfg=dict(type='GN', num_groups=4, requires_grad=True),
)
_NECK = dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=16, num_outs=5)
_PREPROCESSOR = dict(
    type='DetDataPreprocessor',
    mean=[123.7, 116.3, 103.5],
    std=[58.4, 57.1, 57.4],
    pad_size_divisor=32,
)


_BUILT: dict[str, Any] = {}


@contextmanager
def _quiet() -> Iterator[None]:
    """mmdet logs every initialised tensor."""
    logger = MMLogger.get_current_instance()
    level, logger.level = logger.level, logging.ERROR
    yield
    logger.setLevel(level)


def build_detector(config: dict[str, Any], seed: int = 0) -> Any:
    """Build an mmdet model with reproducible weights, once; ranks forked later copy it."""
    key = f'{seed} {config}'
    if key not in _BUILT:
        _BUILT[key] = _build_detector(config, seed)
    return copy.deepcopy(_BUILT[key])


def _build_detector(config: dict[str, Any], seed: int) -> Any:
    import mmdet.engine  # noqa: F401  what a rank would import, imported before the fork
    import mmdet.models  # noqa: F401  registers the detectors
    import torch._dynamo  # noqa: F401  for DistributedDataParallel
    from mmdet.registry import MODELS
    from mmengine.registry import DefaultScope

    if not DefaultScope.check_instance_created('agvm_tests'):
        DefaultScope.get_instance('agvm_tests', scope_name='mmdet')
    torch.manual_seed(seed)
    model = MODELS.build(config)
    with _quiet():
        model.init_weights()
    return model.train()


def retinanet_config() -> dict[str, Any]:
    """A RetinaNet without batch normalisation, about 0.3 M parameters, real losses."""
    return dict(
        type='RetinaNet',
        data_preprocessor=_PREPROCESSOR,
        backbone=_BACKBONE,
        neck=_NECK,
        bbox_head=dict(
            type='RetinaHead',
            num_classes=3,
            in_channels=16,
            stacked_convs=1,
            feat_channels=16,
            anchor_generator=dict(
                type='AnchorGenerator',
                octave_base_scale=4,
                scales_per_octave=1,
                ratios=[1.0],
                strides=[4, 8, 16, 32, 64],
            ),
            bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
            loss_cls=dict(
                type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0
            ),
            loss_bbox=dict(type='L1Loss', loss_weight=1.0),
        ),
        train_cfg=dict(
            assigner=dict(
                type='MaxIoUAssigner',
                pos_iou_thr=0.5,
                neg_iou_thr=0.4,
                min_pos_iou=0.0,
                ignore_iof_thr=-1,
            ),
            sampler=dict(type='PseudoSampler'),
            allowed_border=-1,
            pos_weight=-1,
            debug=False,
        ),
        test_cfg=dict(
            nms_pre=100,
            min_bbox_size=0,
            score_thr=0.05,
            nms=dict(type='nms', iou_threshold=0.5),
            max_per_img=20,
        ),
    )


def tiny_retinanet(seed: int = 0) -> Any:
    """The detector of :func:`retinanet_config`."""
    return build_detector(retinanet_config(), seed)
