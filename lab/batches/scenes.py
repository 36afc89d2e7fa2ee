"""Scenes of 32 pixels with their semantic maps, resident in memory."""

from __future__ import annotations

import os
import subprocess
import sys
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

    def take(self, chosen: Tensor, mirrored: Tensor) -> Scenes:
        """See :class:`.images.Images`."""
        images, maps = self.images[chosen], self.maps[chosen]
        images[mirrored] = images[mirrored].flip(-1)
        maps[mirrored] = maps[mirrored].flip(-1)
        return Scenes(images, maps)

    def as_data(self) -> dict[str, Any]:
        """What a loader of MMSegmentation yields."""
        from mmseg.structures import SegDataSample

        shape = dict.fromkeys(('ori_shape', 'img_shape'), tuple(self.maps.shape[1:]))
        samples = [
            SegDataSample(gt_sem_seg=PixelData(data=classes[None]), metainfo=shape)
            for classes in self.maps
        ]
        return dict(inputs=list(self.images), data_samples=samples)


def load_scenes() -> tuple[Scenes, Scenes]:
    """The scenes to train and to validate on, in $AGVM_MM_DATA; drawn if they are not there."""
    folder = Path(os.environ.get('AGVM_MM_DATA', 'data')) / 'large_batch'
    draw(folder)
    return load(folder, 'train'), load(folder, 'val')


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
