"""A recipe with a curriculum is its baseline and the curriculum, nothing else."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from recipes import ROOT, load, plain

from agvm_mm.curriculum.settings import read_stages
from agvm_mm.launch.rescale.recipe import rescale
from agvm_mm.parts.clip_window import split_window

pytestmark = pytest.mark.configs

PATHS = sorted(ROOT.glob('configs/*/*-curriculum_*.py'))
every_recipe = pytest.mark.parametrize('path', PATHS, ids=lambda path: path.stem)


def baseline_of(path: Path) -> Config:
    """The same recipe without the curriculum; on COCO that of batch 16, rescaled to 32."""
    sibling = path.with_name(path.name.replace('-curriculum', ''))
    if sibling.exists():
        return load(sibling)
    cfg = copy.deepcopy(load(path.with_name(sibling.name.replace('_8xb4-', '_8xb2-'))))
    rescale(cfg, cfg.auto_scale_lr.rule, cfg.total_batch_size, 32)
    cfg.total_batch_size, cfg.train_dataloader.batch_size = 32, 4
    cfg.default_hooks.logger.interval = 50  # a curriculum's recipe keeps MMDetection's
    cfg.auto_scale_lr = load(path).auto_scale_lr
    return cfg


def without_curriculum(path: Path) -> dict[str, Any]:
    cfg, base = plain(load(path)), plain(baseline_of(path))
    assert cfg['model']['data_preprocessor'].pop('type').startswith('LowFreq')
    base['model']['data_preprocessor'].pop('type')
    for entries in (cfg, base):
        entries['default_hooks'].pop('param_scheduler')
        entries['custom_hooks'] = [
            hook for hook in entries.get('custom_hooks', []) if hook['type'] != 'CurriculumHook'
        ]
        entries['optim_wrapper'].pop('clip_grad', None)
    assert cfg == base
    return base


def test_there_is_one_of_every_kind() -> None:
    assert [path.name.split('_sgd')[0] for path in PATHS] == [
        'faster-rcnn_r18_fpn',
        'faster-rcnn_r50_fpn',
        'mask-rcnn_r50_fpn',
        'retinanet_r50_fpn',
        'fpn_r18',
        'fpn_r50',
    ]


@every_recipe
def test_differs_from_its_baseline_by_the_curriculum_alone(path: Path) -> None:
    without_curriculum(path)
    cfg = load(path)
    assert cfg.default_hooks.param_scheduler.type == 'ComputeParamSchedulerHook'
    (hook,) = (hook for hook in cfg.custom_hooks if hook['type'] == 'CurriculumHook')
    assert read_stages(hook['stages'])[-1].ratio == 1
    kind = 'Seg' if 'fpn_r' in path.name[:5] else 'Det'
    assert cfg.model.data_preprocessor.type == f'LowFreq{kind}DataPreprocessor'


@every_recipe
def test_the_window_of_clipping_is_where_it_was_in_compute(path: Path) -> None:
    """All of it lies in the first stage, whose updates cost a quarter."""
    cfg = load(path)
    if '_coco' in path.name:
        base = baseline_of(path)
        (_, ours), (_, theirs) = (split_window(c.optim_wrapper.clip_grad) for c in (cfg, base))
        first = read_stages('detection')[0]
        assert (ours.begin * first.cost, ours.end * first.cost) == (theirs.begin, theirs.end)
        updates = cfg.train_cfg.max_epochs * -(-117_266 // 32)
        assert theirs.end < first.share * updates
