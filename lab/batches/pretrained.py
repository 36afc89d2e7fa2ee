"""Real images and models with ImageNet weights, from the configs in lab/configs/imagenet."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, init_default_scope
from torch import nn

from agvm_mm.launch.errors import LaunchError

from .boxes import Boxes, average_precision
from .scenes import Scenes

CONFIGS = Path(__file__).resolve().parents[1] / 'configs/imagenet'
DETECTOR = CONFIGS / 'retinanet_efficientnet-lite0_fpn_bccd.py'
SEGMENTER = CONFIGS / 'fpn_efficientnet-lite0_camvid.py'


@cache
def parsed(path: Path) -> Config:
    """A config, parsed once."""
    return Config.fromfile(path)


def read(path: Path) -> Config:
    """A copy of a config; its library's scope becomes the default.

    Raises:
        LaunchError: the data that it names do not exist.
    """
    config = copy.deepcopy(parsed(path))
    init_default_scope(config.default_scope)
    for needed in (Path(config.data_root), Path(config.weights)):
        if not needed.exists():
            raise LaunchError(
                f'{needed} does not exist: set AGVM_MM_DATA to the folder that holds it; '
                'docs/large_batch.md says where it comes from.'
            )
    return config


def load(path: Path) -> tuple[Any, Any]:
    """The images to train and to validate on, :class:`Boxes` or :class:`Scenes`."""
    config = read(path)
    loaders = config.train_dataloader, config.val_dataloader
    train, val = (_pack(DATASETS.build(loader.dataset)) for loader in loaders)
    return train, val


def _pack(dataset: Any) -> Boxes | Scenes:
    items = [dataset[i] for i in range(len(dataset))]
    images = torch.stack([item['inputs'] for item in items])
    samples = [item['data_samples'] for item in items]
    if 'gt_sem_seg' in samples[0]:
        return Scenes(images, torch.cat([sample.gt_sem_seg.data for sample in samples]))
    return Boxes(images, samples)


def build_model(path: Path, seed: int) -> nn.Module:
    """The model in training mode; ``seed`` decides the weights of all but the backbone."""
    config = read(path)
    torch.manual_seed(seed)
    model: Any = MODELS.build(config.model)
    model.init_weights()
    # A sixth faster on a CPU.
    built: nn.Module = model.to(memory_format=torch.channels_last).train()
    return built


def box_scores(model: nn.Module, val: Boxes) -> dict[str, float]:
    """See :func:`.boxes.average_precision`."""
    config = read(DETECTOR)
    annotations = Path(config.val_evaluator.ann_file)
    return average_precision(model, val, annotations, config.metainfo.classes)
