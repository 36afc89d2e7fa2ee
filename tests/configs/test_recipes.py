"""Every recipe loads, resolves, and is what its name says: a model, a schedule and a method."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import OPTIM_WRAPPERS, OPTIMIZERS, PARAM_SCHEDULERS
from recipes import (
    AGVM_PATHS,
    PATHS,
    ROOT,
    WHOLE,
    every_agvm_recipe,
    every_recipe,
    load,
    parse,
    plain,
    resolved,
)

import agvm_mm  # noqa: F401  registers the components
from agvm_mm.kfac import KFACSettings
from agvm_mm.parts import AGVMSettings, UnitClipPart
from agvm_mm.parts.clip_window import split_window

pytestmark = pytest.mark.configs

RELEASED = [path for path in PATHS if '-released_' in path.name]
COMPOSED = [path for path in PATHS if path not in RELEASED]
every_composed_recipe = pytest.mark.parametrize('path', COMPOSED, ids=lambda path: path.stem)
# Recipes that set a batch of their own: what the paper's title says, and curricula.
TITLES = {
    ('faster-rcnn', 'r50', 'agvm-adamw'): 1536,
    ('retinanet', 'r18', 'agvm-sgd'): 10240,
    ('cascade-mask-rcnn', 'swin-l', 'agvm-adamw'): 960,
}
SQRT = ('adamw', 'adan', 'lamb', 'muon')
IMAGES = {'coco': 117_266, 'ade20k-512x512': 20_210}


def test_there_is_one_recipe_for_each_model_and_method() -> None:
    batches: dict[tuple[str, str, str], set[int]] = {}
    for recipe in map(parse, COMPOSED):
        if recipe.path in WHOLE:
            continue
        key = recipe.algorithm, recipe.backbone, recipe.method
        assert recipe.batch not in batches.setdefault(key, set())
        batches[key].add(recipe.batch)
    for key, sizes in batches.items():
        curriculum = key[2] == 'sgd-curriculum' and key[0] != 'fpn'
        assert sizes == ({32} if curriculum else {16} | {TITLES.get(key, 16)}), key
    assert set(TITLES) <= set(batches)
    models: dict[tuple[str, str], set[str]] = {}
    for algorithm, backbone, method in batches:
        models.setdefault((algorithm, backbone), set()).add(method)
    small = {'sgd', 'agvm-sgd', 'lars', 'lamb'}
    norm_free = {'sgd-agc', 'agvm-sgd-agc', 'adan-agc', 'lars', 'lamb'}
    second_order = {'kfac-sgd', 'agvm-kfac-sgd'}
    transformer = {'adamw', 'agvm-adamw', 'lamb'}
    assert models == {
        ('faster-rcnn', 'r50'): small | second_order | transformer | {'sgd-curriculum', 'muon'},
        ('mask-rcnn', 'r50'): small | {'sgd-curriculum', 'muon'},
        ('retinanet', 'r50'): small | second_order | {'sgd-curriculum', 'muon'},
        ('retinanet', 'r18'): small,
        ('panoptic-fpn', 'r50'): small,
        ('fpn', 'r50'): small | {'kfac-sgd', 'sgd-curriculum', 'muon'},
        ('upernet', 'r50'): small,
        ('faster-rcnn', 'swin-t'): transformer,
        ('cascade-mask-rcnn', 'swin-l'): transformer,
        ('faster-rcnn', 'nf-r50'): norm_free,
        ('retinanet', 'nf-r50'): norm_free,
        ('fpn', 'nf-r50'): norm_free,
    }


@every_recipe
def test_the_batch_is_that_of_the_name(path: Path) -> None:
    recipe, cfg = parse(path), load(path)
    assert cfg.total_batch_size == recipe.batch
    assert cfg.train_dataloader.batch_size == recipe.images
    assert cfg.custom_imports == dict(imports=['agvm_mm'], allow_failed_imports=False)
    assert 'accumulative_counts' not in cfg.optim_wrapper


@every_composed_recipe
def test_what_another_batch_follows_from(path: Path) -> None:
    recipe, scaling = parse(path), load(path).auto_scale_lr
    title = TITLES.get((recipe.algorithm, recipe.backbone, recipe.method)) == recipe.batch
    assert scaling.enable is title
    assert scaling.base_batch_size == (16 if title else recipe.batch)
    root = recipe.dataset != 'coco' or any(name in recipe.method for name in SQRT)
    assert scaling.rule == ('sqrt' if root else 'linear-then-sqrt')
    images = 118_287 if recipe.algorithm == 'dino' else 117_266  # with those that have no object
    assert scaling.get('epoch_images') == (images if recipe.dataset == 'coco' else None)


@pytest.mark.parametrize('path', RELEASED, ids=lambda path: path.stem)
def test_a_released_recipe_is_not_rescaled(path: Path) -> None:
    assert load(path).get('auto_scale_lr') is None


@every_recipe
def test_optimizer_and_wrapper(path: Path) -> None:
    recipe, wrapper = parse(path), load(path).optim_wrapper
    named = {'lars': 'LARSOptimizer', 'lamb': 'LAMBOptimizer', 'adan-agc': 'AdanOptimizer'}
    named['muon'] = 'MuonOptimizer'
    optimizer = named.get(recipe.method, 'AdamW' if 'adamw' in recipe.method else 'SGD')
    assert wrapper.optimizer.type == optimizer
    assert OPTIMIZERS.get(optimizer) is not None
    house = 'AGVM' if recipe.method.startswith('agvm-') else 'Parts'
    mixed = 'Amp' if '-amp' in path.stem else ''
    assert wrapper.type == f'{house}{mixed}OptimWrapper'
    assert OPTIM_WRAPPERS.get(wrapper.type) is not None
    assert (wrapper.get('agvm') is not None) == recipe.method.startswith('agvm-')
    # A constructor that makes a group of every parameter needs them joined for the step.
    if house == 'Parts':
        assert wrapper.get('join_groups', False) == ('paramwise_cfg' in wrapper)
    clipping = wrapper.get('clip_grad')
    split_window(clipping)  # raises on a bad window
    by_units = UnitClipPart.from_config(clipping)  # and on a bad option
    assert (by_units is not None) == recipe.method.endswith('-agc')


@every_recipe
def test_schedule_and_length(path: Path) -> None:
    recipe, cfg = parse(path), load(path)
    number, unit = int(re.match(r'\d+', recipe.length)[0]), recipe.length.lstrip('0123456789')
    warm_up, after = cfg.param_scheduler
    assert (warm_up.type, warm_up.ratio, warm_up.begin) == ('ExponentialWarmupLR', 0.001, 0)
    if unit == 'e':
        assert cfg.train_cfg.max_epochs == number == after.end
        if path in COMPOSED:
            assert (warm_up.end, warm_up.convert_to_iter_based) == (2, True)
    else:
        assert cfg.train_cfg.max_iters == number * {'k': 1000, 'it': 1}[unit] == after.end
        assert warm_up.end == 2 * math.ceil(IMAGES[recipe.dataset] / recipe.batch)
        assert after.begin == (0 if after.type == 'MultiStepLR' else warm_up.end)
        assert cfg.train_cfg.val_interval == cfg.default_hooks.checkpoint.interval
        assert cfg.train_cfg.val_interval == 8000 or path in WHOLE
        assert cfg.default_hooks.checkpoint.by_epoch is False
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    for entry in cfg.param_scheduler:
        built = PARAM_SCHEDULERS.build(
            {key: value for key, value in entry.items() if key != '_scope_'},
            default_args=dict(optimizer=optimizer, epoch_length=100),
        )
        built.step()


@every_agvm_recipe
def test_settings_of_agvm_are_valid(path: Path) -> None:
    recipe, wrapper = parse(path), load(path).optim_wrapper
    settings = AGVMSettings.from_dict(resolved(path).optim_wrapper.agvm)
    assert settings.precondition == (recipe.method == 'agvm-adamw')
    assert settings.momentum == 0.97
    if path in COMPOSED:
        assert (wrapper.agvm.begin, wrapper.agvm.interval) == ('after_warmup', 'by_batch')
        assert settings.averaging == 'moments'


def baseline_of(path: Path) -> Path:
    return path.with_name(
        path.name.replace('_agvm-released_', '_sgd-released_').replace('_agvm-', '_')
    )


@pytest.mark.parametrize(
    'path', [path for path in AGVM_PATHS if baseline_of(path) in PATHS], ids=lambda path: path.stem
)
def test_the_baseline_is_the_recipe_without_agvm(path: Path) -> None:
    ours, theirs = plain(load(path)), plain(load(baseline_of(path)))
    wrappers = ours.pop('optim_wrapper'), theirs.pop('optim_wrapper')
    assert ours == theirs
    keys = {*wrappers[0], *wrappers[1]}
    different = {key for key in keys if wrappers[0].get(key) != wrappers[1].get(key)}
    assert different - {'join_groups'} == {'type', 'agvm'}


@pytest.mark.parametrize('path', [p for p in PATHS if 'kfac-' in p.name], ids=lambda p: p.stem)
def test_k_fac_is_all_that_is_added(path: Path) -> None:
    ours = plain(load(path))
    theirs = plain(load(path.with_name(path.name.replace('kfac-', ''))))
    KFACSettings.from_dict(ours['optim_wrapper'].pop('kfac'))
    assert ours.pop('custom_hooks') == [dict(type='KFACStateHook')]
    assert ours == theirs


def test_muon_is_all_that_differs_from_adamw() -> None:
    """`match_rms_adamw` keeps AdamW's rate and decay."""
    (path,) = ROOT.glob('configs/faster_rcnn/faster-rcnn_r50_fpn_muon_*_coco.py')
    ours, theirs = (
        plain(load(path)),
        plain(load(path.with_name(path.name.replace('muon', 'adamw')))),
    )
    expected = dict(theirs['optim_wrapper']['optimizer'], type='MuonOptimizer')
    given = ours['optim_wrapper']['optimizer']
    assert given.pop('adjust_lr') == 'match_rms_adamw' and given == expected
    assert ours['optim_wrapper'].pop('constructor') == 'MuonOptimWrapperConstructor'
    theirs['optim_wrapper']['optimizer'] = given
    assert ours == theirs


@every_composed_recipe
def test_the_rate_falls_to_a_tenth_at_least(path: Path) -> None:
    cfg = load(path)
    lowest, rate = cfg.param_scheduler[1].get('eta_min', 0), cfg.optim_wrapper.optimizer.lr
    assert lowest <= rate / 10


LIBRARY = {
    'faster_rcnn/faster-rcnn_r50_fpn': 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    'mask_rcnn/mask-rcnn_r50_fpn': 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    'retinanet/retinanet_r50_fpn': 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
    'retinanet/retinanet_r18_fpn': 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py',
    'panoptic_fpn/panoptic-fpn_r50_fpn': 'mmdet::panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco.py',
    'sem_fpn/fpn_r50': 'mmseg::sem_fpn/fpn_r50_4xb4-160k_ade20k-512x512.py',
    'upernet/upernet_r50': 'mmseg::upernet/upernet_r50_4xb4-80k_ade20k-512x512.py',
}


@pytest.mark.parametrize('stem', LIBRARY)
def test_sgd_is_the_librarys_own_recipe_with_another_warm_up(stem: str, tmp_path: Path) -> None:
    """Model, data, evaluation, learning rate and length, and what it decays at."""
    (path,) = ROOT.glob(f'configs/{stem}_sgd_*.py')
    child = tmp_path / 'child.py'
    child.write_text(f"_base_ = '{LIBRARY[stem]}'\n")
    ours, theirs = load(path), Config.fromfile(child)
    assert equal(plain(ours)['model'], plain(theirs)['model'])
    for part in ('train', 'val', 'test'):
        for key in (f'{part}_dataloader', f'{part}_evaluator'):
            assert ours.get(key) == theirs.get(key)
    for key in ('type', 'lr', 'momentum', 'weight_decay'):
        assert ours.optim_wrapper.optimizer[key] == theirs.optim_wrapper.optimizer[key]
    if 'auto_scale_lr' in theirs:
        assert ours.auto_scale_lr.base_batch_size == theirs.auto_scale_lr.base_batch_size
        assert ours.train_cfg.max_epochs == theirs.train_cfg.max_epochs
        assert equal(plain(ours)['param_scheduler'][1], plain(theirs)['param_scheduler'][1])


def equal(ours: Any, theirs: Any) -> bool:
    """Equal but for the scopes that a base writes into what inherits from it."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        keys = {*ours, *theirs} - {'_scope_'}
        return all(key in ours and key in theirs and equal(ours[key], theirs[key]) for key in keys)
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(equal, ours, theirs))
    return bool(ours == theirs)
