"""The smallest recipe of a model, rescaled, has the numbers of the recipes at larger batches."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from recipes import AGVM_PATHS, load, parse

from agvm_mm.launch.rescale.recipe import rescale
from agvm_mm.launch.warmup import resolve_lengths_of_agvm

pytestmark = pytest.mark.configs

COCO_IMAGES = 117266  # with annotations
LARGE = [
    path
    for path in AGVM_PATHS
    if '_r50_' in path.name and '_agvm-sgd_' in path.name and '_8xb4-' not in path.name
    if path.parent.name in ('faster_rcnn', 'mask_rcnn', 'retinanet')
]


@pytest.mark.parametrize('path', LARGE, ids=lambda path: path.stem)
def test_the_smallest_recipe_becomes_the_larger_one(path: Path) -> None:
    recipe = parse(path)
    (smallest,) = path.parent.glob('*_r50_fpn_agvm-sgd_8xb4-12e_coco.py')
    cfg, wanted = copy.deepcopy(load(smallest)), load(path)
    cfg.auto_scale_lr = dict(base_batch_size=32, epoch_images=COCO_IMAGES)
    cfg.optim_wrapper.agvm.interval = 'by_batch'
    rescale(cfg, 'linear-then-sqrt', 32, recipe.batch)
    resolve_lengths_of_agvm(cfg, lambda: recipe.batch)
    assert cfg.optim_wrapper.optimizer.pop('lr') == pytest.approx(
        wanted.optim_wrapper.optimizer.lr, rel=1e-9
    )
    for key, value in cfg.optim_wrapper.optimizer.items():
        assert value == wanted.optim_wrapper.optimizer[key]
    assert cfg.optim_wrapper.agvm == wanted.optim_wrapper.agvm
    assert cfg.optim_wrapper.clip_grad == wanted.optim_wrapper.clip_grad
    assert cfg.param_scheduler == wanted.param_scheduler
    assert cfg.train_cfg == wanted.train_cfg


def test_there_are_enough_of_them() -> None:
    assert {parse(path).batch for path in LARGE} == {256, 512, 1024, 1536, 2048}
