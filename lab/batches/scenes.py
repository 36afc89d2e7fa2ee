"""Scenes of 32 pixels with their semantic maps, resident in memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import mmcv
import numpy as np
import torch
from mmengine.structures import PixelData
from torch import Tensor

from agvm_mm.launch.errors import LaunchError

SCRIPT = Path(__file__).resolve().parents[2] / 'tools/dataset_converters/generate_scenes.py'
SIZE = 32
DRAWN = '--train 8192 --val 512 --size 32 32 --objects 1 3 --seed 0'
CLASSES = 9
VOID = 255


class Scenes(NamedTuple):
    """Images (N, 3, H, W) in uint8, blue first, and maps (N, H, W) of class indices."""

    images: Tensor
    maps: Tensor


def draw(folder: Path) -> None:
    """The dataset; the generator leaves one that is there and refuses other scenes.

    Raises:
        LaunchError: the generator has failed; it has said why.
    """
    command = [sys.executable, str(SCRIPT), str(folder), *DRAWN.split()]
    if subprocess.run(command).returncode:
        raise LaunchError(f'the scenes could not be drawn in {folder}; the lines above say why.')


def load(folder: Path, split: str) -> Scenes:
    """The scenes of ``split``, 'train' or 'val', as the generator has written them."""
    files = sorted((folder / f'{split}2017').glob('*.jpg'))
    maps = folder / 'annotations' / f'semantic_{split}2017'
    pairs = [(mmcv.imread(f), mmcv.imread(maps / f'{f.stem}.png', 'unchanged')) for f in files]
    images = np.stack([image for image, _ in pairs]).transpose(0, 3, 1, 2)
    return Scenes(
        torch.from_numpy(np.ascontiguousarray(images)),
        torch.from_numpy(np.stack([classes for _, classes in pairs])).long(),
    )


def stream(scenes: Scenes, size: int, seed: int) -> Iterator[Scenes]:
    """Batches of ``size`` scenes without end, each scene mirrored with probability 1/2.

    Every scene comes once before any comes again; the order depends on ``seed`` alone.
    """
    generator = torch.Generator().manual_seed(seed)
    waiting = torch.empty(0, dtype=torch.long)
    while True:
        while len(waiting) < size:
            order = torch.randperm(len(scenes.images), generator=generator)
            waiting = torch.cat([waiting, order])
        chosen, waiting = waiting[:size], waiting[size:]
        images, maps = scenes.images[chosen], scenes.maps[chosen]
        mirrored = torch.rand(size, generator=generator) < 0.5
        images[mirrored] = images[mirrored].flip(-1)
        maps[mirrored] = maps[mirrored].flip(-1)
        yield Scenes(images, maps)


def as_data(scenes: Scenes) -> dict[str, Any]:
    """What a loader of MMSegmentation yields."""
    from mmseg.structures import SegDataSample

    shape = dict.fromkeys(('ori_shape', 'img_shape'), tuple(scenes.maps.shape[1:]))
    samples = [
        SegDataSample(gt_sem_seg=PixelData(data=classes[None]), metainfo=shape)
        for classes in scenes.maps
    ]
    return dict(inputs=list(scenes.images), data_samples=samples)
