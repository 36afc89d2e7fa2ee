"""Detectors and a segmenter to measure on, and images for them; random weights, no download."""

from __future__ import annotations

import copy
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor, nn

from agvm_mm.launch.command_line import require_at_least
from agvm_runs.work_dir import require_own

CLASSES = 3


@dataclass(frozen=True)
class Model:
    """A detector of MMDetection's model zoo, or a segmenter of MMSegmentation's.

    Args:
        config: as ``mmdet::`` or ``mmseg::`` names it.
        overrides: what is changed, by dotted key.
        size: pixels of an image's side unless told otherwise.
    """

    config: str
    overrides: dict[str, Any]
    size: int

    @property
    def scope(self) -> str:
        """Of the registry."""
        return self.config.partition('::')[0]


def _resnet18(neck: int, base: int = 64) -> dict[str, Any]:
    return {
        'backbone.depth': 18,
        'backbone.base_channels': base,
        'neck.in_channels': [base, 2 * base, 4 * base, 8 * base],
        'neck.out_channels': neck,
    }


_TINY = {
    **_resnet18(neck=16, base=8),
    'backbone.frozen_stages': -1,
    'rpn_head.in_channels': 16,
    'rpn_head.feat_channels': 16,
    'roi_head.bbox_roi_extractor.out_channels': 16,
    'roi_head.bbox_head.in_channels': 16,
    'roi_head.bbox_head.fc_out_channels': 32,
    'roi_head.bbox_head.num_classes': CLASSES,
    'train_cfg.rpn_proposal.nms_pre': 100,
    'train_cfg.rpn_proposal.max_per_img': 50,
}
# As configs/_base_/models/fpn_r18_small.py, the benchmark's segmenter.
_SMALL_FPN = {
    **_resnet18(neck=64, base=32),
    'pretrained': None,
    'data_preprocessor.size': None,
    'data_preprocessor.size_divisor': 32,
    'decode_head.in_channels': [64] * 4,
    'decode_head.channels': 32,
    'decode_head.num_classes': CLASSES,
}
_FASTER_RCNN = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
_RETINANET = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
_SEMANTIC_FPN = 'mmseg::sem_fpn/fpn_r50_4xb4-160k_ade20k-512x512.py'

MODELS_BY_NAME = {
    'tiny': Model(_FASTER_RCNN, _TINY, 64),
    'faster-rcnn_r18': Model(_FASTER_RCNN, _resnet18(neck=256), 320),
    'faster-rcnn_r50': Model(_FASTER_RCNN, {}, 320),
    'retinanet_r50': Model(_RETINANET, {}, 320),
    'sem-fpn_r18': Model(_SEMANTIC_FPN, _SMALL_FPN, 176),
}


def model_config(name: str) -> Any:
    """The ``model`` of a config, a key of :data:`MODELS_BY_NAME`."""
    from mmengine.hub import get_config

    found = MODELS_BY_NAME[name]
    config = get_config(found.config)
    config.merge_from_dict(
        {f'model.{key}': value for key, value in found.overrides.items()}
        | {'model.backbone.init_cfg': None}
    )
    config.model['_scope_'] = found.scope
    return config.model


def build_model(name: str, seed: int = 0) -> nn.Module:
    """The model in training mode, the same weights on every rank.

    Args:
        name: a key of :data:`MODELS_BY_NAME`.
        seed: of the weights.
    """
    import_module(f'{MODELS_BY_NAME[name].scope}.models')  # which registers it
    if not DefaultScope.check_instance_created('benchmark'):
        DefaultScope.get_instance('benchmark', scope_name='mmdet')
    torch.manual_seed(seed)
    model: nn.Module = revert_sync_batchnorm(MODELS.build(model_config(name)))
    return model.train()


def add_model(parser: ArgumentParser, default: str = 'faster-rcnn_r50') -> None:
    """Options of a command that takes one model and one batch: --model, --images, --size."""
    parser.add_argument(
        '--model',
        choices=list(MODELS_BY_NAME),
        default=default,
        help='which network; default %(default)s',
    )
    parser.add_argument('--images', type=int, default=2, help='in the batch')
    parser.add_argument('--size', type=int, default=320, help="pixels of an image's side")


def check_model_and_rounds(args: Namespace, mark: str) -> None:
    """Stop before anything is built: the numbers of :func:`add_model`, --rounds and --out.

    Args:
        args: the command line.
        mark: of the command's JSON file, see :func:`agvm_runs.work_dir.require_own`.

    Raises:
        LaunchError: names the option.
        FileError: the file would overwrite something else.
    """
    if args.out is not None:
        require_own(args.out, mark)
    require_at_least(args, {'images': 1, 'size': 32, 'rounds': 1})


def build_batch(
    seed: tuple[int, ...], images: int, size: int, model: str = 'tiny'
) -> dict[str, Any]:
    """Random images as a data loader hands them over, with one to five boxes or a class map each.

    Args:
        seed: names the batch.
        images: how many.
        size: pixels of a side.
        model: a key of :data:`MODELS_BY_NAME`.
    """
    rng = np.random.default_rng(seed)
    target = _classes if MODELS_BY_NAME[model].scope == 'mmseg' else _boxes
    return {
        'inputs': [_image(rng, size) for _ in range(images)],
        'data_samples': [target(rng, size) for _ in range(images)],
    }


def loss_of(model: Any, batch: dict[str, Any], seed: int = 0) -> Tensor:
    """The loss of a model on a batch, which stays as it was.

    Args:
        model: of :func:`build_model`.
        batch: of :func:`build_batch`.
        seed: by which a detector draws its proposals.
    """
    torch.manual_seed(seed)
    data = model.data_preprocessor(copy.deepcopy(batch), True)
    loss: Tensor = model.parse_losses(model(**data, mode='loss'))[0]
    return loss


def _image(rng: np.random.Generator, size: int) -> Tensor:
    return torch.from_numpy(rng.integers(0, 256, (3, size, size), dtype=np.uint8))


def _classes(rng: np.random.Generator, size: int) -> Any:
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    sample = SegDataSample(metainfo={'img_shape': (size, size), 'ori_shape': (size, size)})
    sample.gt_sem_seg = PixelData(data=torch.tensor(rng.integers(0, CLASSES, (1, size, size))))
    return sample


def _boxes(rng: np.random.Generator, size: int) -> Any:
    from mmdet.structures import DetDataSample
    from mmdet.structures.bbox import HorizontalBoxes
    from mmengine.structures import InstanceData

    count = int(rng.integers(1, 6))
    corner = rng.uniform(0, 0.6 * size, (count, 2))
    extent = rng.uniform(0.15 * size, 0.4 * size, (count, 2))
    boxes = torch.tensor(np.hstack([corner, corner + extent]), dtype=torch.float32)
    shape = (size, size)
    sample = DetDataSample(metainfo={'img_shape': shape, 'ori_shape': shape, 'pad_shape': shape})
    sample.gt_instances = InstanceData(
        bboxes=HorizontalBoxes(boxes), labels=torch.tensor(rng.integers(0, CLASSES, count))
    )
    return sample
