"""The recipes of configs/: where they are, what their names and first lines say."""

from __future__ import annotations

import copy
import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from mmengine.config import Config

from agvm_mm.launch.runner import resolve_batch

ROOT = Path(__file__).resolve().parents[2]
NAME = re.compile(
    r'(?P<algorithm>[a-z0-9]+(?:-[a-z]+)*)'
    r'_(?P<backbone>(?:nf-)?r(?:18|50)|swin-[tl]|cspnext-s|mit-b0)(?:_fpn)?'
    r'_(?P<method>[a-z]+(?:-[a-z]+)*)'
    r'_(?P<gpus>\d+)xb(?P<images>\d+)-(?P<length>\d+(?:e|k|it))(?P<amp>-amp)?'
    r'_(?P<dataset>coco|ade20k-512x512)'
)
# Written by others, with tests of their own: the demonstrations on small data.
OTHERS = ('scenes', 'scenes-semantic', 'bccd', 'camvid')


class Recipe(NamedTuple):
    """A config file and what its name says."""

    path: Path
    algorithm: str
    backbone: str
    method: str
    batch: int
    images: int
    length: str
    dataset: str


def find_recipes() -> list[Path]:
    return [
        path
        for path in sorted(ROOT.glob('configs/[!_]*/*.py'))
        if not any(word in path.name for word in OTHERS)
    ]


def parse(path: Path) -> Recipe:
    match = NAME.fullmatch(path.stem)
    assert match, f'{path.name} does not follow the naming rule'
    part = match.groupdict()
    images = int(part['images'])
    return Recipe(
        path,
        part['algorithm'],
        part['backbone'],
        part['method'],
        int(part['gpus']) * images,
        images,
        part['length'],
        part['dataset'],
    )


PATHS = find_recipes()
# Those that inherit a config of the library as a whole; the others are composed of bases.
WHOLE = [
    path for path in PATHS if path.parent.name in ('rtmdet', 'dino', 'mask2former', 'segformer')
]
every_recipe = pytest.mark.parametrize('path', PATHS, ids=lambda path: path.stem)
AGVM_PATHS = [path for path in PATHS if '_agvm-' in path.name]
every_agvm_recipe = pytest.mark.parametrize('path', AGVM_PATHS, ids=lambda path: path.stem)


@cache
def load(path: Path) -> Config:
    return Config.fromfile(path)


def resolved(path: Path, batch: int | None = None, rule: str | None = None) -> Config:
    """The config that a launch makes of a recipe, with an update in one micro-batch.

    Its lengths in iterations then count updates.

    Args:
        path: the recipe.
        batch: as ``--total-batch-size``; None for the recipe's own.
        rule: as ``--scale-rule``; None for the recipe's own.
    """
    cfg = copy.deepcopy(load(path))
    cfg.train_dataloader.batch_size = batch or cfg.total_batch_size
    own = (cfg.get('auto_scale_lr') or {}).get('rule')
    resolve_batch(cfg, batch, None if batch is None else rule or own)
    return cfg


def header(path: Path) -> dict[str, str]:
    """The labelled comment lines at the top, continuation lines joined."""
    fields: dict[str, str] = {}
    for line in path.read_text().splitlines():
        if not line.startswith('#'):
            break
        match = re.match(r'# ([A-Z]\w+): +(\S.*)', line)
        if match:
            fields[match[1]] = match[2]
        else:
            last = list(fields)[-1]
            fields[last] += ' ' + line.lstrip('# ')
    return fields


def plain(cfg: Config) -> dict[str, Any]:
    return cfg.to_dict()
