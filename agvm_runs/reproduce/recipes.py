"""What the name of a recipe says.

    <algorithm>_<backbone>[_fpn]_<method>_<GPUs>xb<images>-<length>[-amp]_<dataset>

The batch is GPUs x images; the length is in epochs (``12e``) or in optimizer updates (``80k``,
``1250it``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

NAME = re.compile(
    r'(?P<algorithm>[a-z0-9]+(?:-[a-z]+)*)'
    r'_(?P<backbone>(?:nf-)?[a-z]+\d+|(?:swin|cspnext)-[a-z]|mit-b\d)(?:_fpn)?'
    r'_(?P<method>[a-z]+(?:-[a-z]+)*)_(?P<gpus>\d+)xb(?P<images>\d+)'
    r'-(?P<length>\d+)(?P<unit>e|k|it)(?:-amp)?_(?P<dataset>.+)'
)

# Training images of an epoch. COCO: those with annotations, which are the ones that are read.
IMAGES = {'coco': 117_266, 'ade20k-512x512': 20_210}

METHODS = {
    'sgd': 'SGD',
    'sgd-curriculum': 'SGD, curriculum',
    'sgd-released': 'SGD',
    'sgd-linear': 'SGD, linear lr',
    'sgd-sqrt': 'SGD, sqrt lr',
    'adamw': 'AdamW',
    'adamw-linear': 'AdamW, linear lr',
    'sgd-agc': 'SGD, AGC',
    'adan': 'Adan',
    'adan-agc': 'Adan, AGC',
    'lars': 'LARS',
    'lamb': 'LAMB',
    'muon': 'Muon',
    'soap': 'SOAP',
    'agvm-sgd': 'AGVM + SGD',
    'agvm-released': 'AGVM + SGD',
    'agvm-adamw': 'AGVM + AdamW',
    'agvm-sgd-agc': 'AGVM + SGD, AGC',
    'agvm-adan': 'AGVM + Adan',
    'agvm-adan-agc': 'AGVM + Adan, AGC',
    'kfac-sgd': 'K-FAC + SGD',
    'agvm-kfac-sgd': 'AGVM + K-FAC + SGD',
}


@dataclass(frozen=True)
class Recipe:
    """A config file and the parts of its name.

    Args:
        path: the file.
        model: algorithm and backbone, as in ``faster-rcnn_r50``.
        method: optimizer and rule for the learning rate, a key of :data:`METHODS`.
        gpus: GPUs that the recipe names.
        images: images per GPU.
        length: number of epochs or updates, by ``unit``.
        unit: 'e' epochs, 'k' thousand updates, 'it' updates.
        dataset: name of the data.
    """

    path: Path
    model: str
    method: str
    gpus: int
    images: int
    length: int
    unit: str
    dataset: str

    @property
    def batch(self) -> int:
        """Images of one optimizer update."""
        return self.gpus * self.images

    @cached_property
    def trained_images(self) -> int:
        """Images that training reads, epochs x images of an epoch or updates x batch.

        Raises:
            KeyError: the number of images of an epoch is not known for this dataset.
        """
        if self.unit == 'e':
            return self.length * IMAGES[self.dataset]
        return self.length * (1000 if self.unit == 'k' else 1) * self.batch


def parse_recipe(path: Path) -> Recipe | None:
    """The recipe of a config file, or None where the name does not follow the rule."""
    match = NAME.fullmatch(path.stem)
    if match is None:
        return None
    part = match.groupdict()
    return Recipe(
        path=path,
        model=f'{part["algorithm"]}_{part["backbone"]}',
        method=part['method'],
        gpus=int(part['gpus']),
        images=int(part['images']),
        length=int(part['length']),
        unit=part['unit'],
        dataset=part['dataset'],
    )
