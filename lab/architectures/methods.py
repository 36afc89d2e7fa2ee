"""A few updates of any network of the zoos, with AGVM, K-FAC and clipping by units at once."""

from __future__ import annotations

import copy
import importlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.logging import MessageHub
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import OPTIM_WRAPPERS, DefaultScope
from torch import nn

import agvm_mm  # noqa: F401  registers the wrappers
from agvm_mm.parts import AGVMPart

from .families import family_model
from .last_layers import unnamed_predictions
from .small import SIDE, picture

UPDATES = 4
COUNTS = 2  # micro-batches of an update
IMAGES = 2  # of a micro-batch
# Of families that need more pixels. SSD300's size is fixed. The innermost maps of an hourglass have
# 1/128 of the side, where batch norm over two images of one pixel lets gradients grow beyond
# float32. DINO chooses 900 queries among the pixels of its pyramid, DDOD has a deformable kernel of
# 3 pixels on the smallest map, and MobileNetV3's head pools 49 pixels.
SIDES = {
    'centripetalnet': 256,
    'cornernet': 256,
    'ddod': 384,
    'dino': 256,
    'mobilenet_v3': 448,
    'ssd': 300,
}
REGIONS = 32  # of an image, with which a second stage trains
METHODS: dict[str, Any] = {
    'agvm': dict(interval=1, momentum=0.5),
    # In small blocks, so that networks of full width take seconds.
    'kfac': dict(
        statistics_interval=2,
        inverse_interval=2,
        momentum=0.5,
        max_block=128,
        max_positions=16,
        kl_clip=1e-3,
    ),
    'clip_grad': dict(type='agc', exclude='pred'),
}
NO_METHOD: dict[str, Any] = {'agvm': None}


def train_network(
    zoo: str,
    path: Path,
    methods: Mapping[str, Any] = METHODS,
    side: int = SIDE,
    updates: int = UPDATES,
) -> dict[str, Any]:
    """Train from random weights.

    Args:
        zoo: of the network.
        path: of its config.
        methods: arguments of AGVMOptimWrapper.
        side: pixels of the images.
        updates: each of two micro-batches with two images.

    Returns:
        The losses of the micro-batches, whether all numbers are finite, the modules' scales, and
        the layers that predict and have no known name.
    """
    network = build_trainable(zoo, path, side)
    given = list(batches(zoo, network, side, updates * COUNTS))
    unnamed = unnamed_predictions(network, copy.deepcopy(given[0]))
    wrapper = OPTIM_WRAPPERS.build(
        dict(
            type='AGVMOptimWrapper',
            optimizer=torch.optim.SGD(network.parameters(), lr=1e-3),
            accumulative_counts=COUNTS,
            **methods,
        )
    )
    wrapper.initialize_count_status(network, 0, updates * COUNTS)
    losses = [float(network.train_step(batch, wrapper)['loss']) for batch in given]
    part = wrapper.part(AGVMPart)
    values = zip(part.partition.names, part.scales(updates)) if part else ()
    scales = {name: float(f'{scale:.3g}') for name, scale in values}
    weights = all(bool(p.isfinite().all()) for p in network.parameters())
    return {
        'losses': [float(f'{loss:.4g}') for loss in losses],
        'finite': weights and all(map(math.isfinite, losses)),
        'scales': scales,
        'unnamed': unnamed,
    }


def build_trainable(zoo: str, path: Path, side: int = SIDE) -> Any:
    """The network of a config with random weights, in training mode, for images of ``side``."""
    importlib.import_module(f'{zoo}.models')
    registry = importlib.import_module(f'{zoo}.registry').MODELS
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(zoo):
        network = revert_sync_batchnorm(registry.build(_fitted(family_model(path), side)))
    network.init_weights()
    for module in network.modules():
        # MMDetection leaves this weight as the memory was, for a checkpoint to fill.
        if type(module).__name__ == 'TridentConv':
            nn.init.kaiming_normal_(module.weight)
    MessageHub.get_current_instance().update_info('epoch', 0)  # TOOD's assigner reads it
    return network.train()


def _fitted(value: Any, side: int) -> Any:
    """A model's config for small images and random weights.

    Running statistics of random weights normalise nothing, so batch norm uses the batch's own.
    """
    if isinstance(value, dict):
        for key, entry in value.items():
            if key == 'norm_eval':
                value[key] = False
            elif key == 'batch_augments':
                value[key] = None
            elif key == 'img_size':
                value[key] = (side, side) if isinstance(entry, (tuple, list)) else side
            elif key == 'data_preprocessor' and entry.get('size') is not None:
                entry['size'] = (side, side)
            elif key == 'sampler' and 'num' in entry:
                entry['num'] = REGIONS
            else:
                value[key] = _fitted(entry, side)
    elif isinstance(value, (list, tuple)):
        for entry in value:
            _fitted(entry, side)
    return value


def batches(zoo: str, network: nn.Module, side: int, count: int) -> Iterator[dict[str, Any]]:
    """``count`` batches of two images, as the zoo's data sets give them."""
    example = _detection_example if zoo == 'mmdet' else _segmentation_example
    for index in range(count):
        seeds = range(index * IMAGES, (index + 1) * IMAGES)
        yield pseudo_collate([example(network, seed, side) for seed in seeds])


def _detection_example(network: Any, seed: int, side: int) -> dict[str, Any]:
    from mmdet.structures.bbox import HorizontalBoxes
    from mmengine.structures import InstanceData, PixelData

    masks = any('mask' in name or 'panoptic' in name for name, _ in network.named_modules())
    found = picture(seed, (6, 2)[seed % 2], masks, side, classes=1)
    sample = found['data_samples']
    sample.set_metainfo(dict(batch_input_shape=(side, side), border=[0, side, 0, side]))
    nothing = torch.zeros(0, 4)
    sample.ignored_instances = InstanceData(
        bboxes=HorizontalBoxes(nothing), labels=torch.zeros(0).long()
    )
    # The fused semantic heads of HTC and SCNet have the stride 8.
    fused = hasattr(getattr(network, 'roi_head', None), 'semantic_head')
    pixels = side // 8 if fused else side
    map_ = np.random.default_rng(seed).integers(0, 2, (1, pixels, pixels))
    sample.gt_sem_seg = PixelData(sem_seg=torch.from_numpy(map_).long())
    if not hasattr(network, 'rpn_head'):
        sample.proposals = InstanceData(bboxes=sample.gt_instances.bboxes.tensor.repeat(20, 1))
    return found


def _segmentation_example(network: Any, seed: int, side: int) -> dict[str, Any]:
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    rng = np.random.default_rng(seed)
    shape = (side, side)
    sample = SegDataSample(metainfo=dict(img_shape=shape, ori_shape=shape, pad_shape=shape))
    map_ = np.kron(rng.integers(0, 2, (4, 4)), np.ones((side // 4, side // 4), dtype=int))
    sample.gt_sem_seg = PixelData(data=torch.from_numpy(map_)[None].long())
    edges = np.zeros(shape, dtype=int)
    edges[:, 1:] |= map_[:, 1:] != map_[:, :-1]
    sample.gt_edge_map = PixelData(data=torch.from_numpy(edges)[None].long())
    image = rng.integers(0, 256, (3, side, side), dtype=np.uint8)
    return dict(inputs=torch.from_numpy(image), data_samples=sample)
