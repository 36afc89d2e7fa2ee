"""Every recipe loads and keeps the rules that its first lines state.

The rules are written down here a second time, independent of the configs.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch
from mmengine.registry import OPTIM_WRAPPERS, OPTIMIZERS, PARAM_SCHEDULERS
from recipes import AGVM_PATHS, PATHS, Recipe, every_agvm_recipe, every_recipe, load, parse, plain

import agvm_mm  # noqa: F401  registers the components
from agvm_mm.kfac import KFACSettings
from agvm_mm.parts import AGVMSettings, UnitClipPart
from agvm_mm.parts.clip_window import split_window

pytestmark = pytest.mark.configs

METHODS = {
    'agvm-released',
    'sgd-released',
    'agvm-sgd',
    'sgd',
    'sgd-sqrt',
    'sgd-linear',
    'lars',
    'lamb',
    'sgd-curriculum',
    'agvm-adamw',
    'adamw',
    'adamw-sqrt',
    'adamw-linear',
    'agvm-sgd-agc',
    'sgd-agc',
    'adan-agc',
    'kfac-sgd',
    'agvm-kfac-sgd',
}
IMAGES_OF = {'coco': 117_266, 'ade20k-512x512': 20_210}  # COCO: those with annotations


def test_there_are_recipes_of_every_kind() -> None:
    recipes = [parse(path) for path in PATHS]
    assert {recipe.method for recipe in recipes} == METHODS
    batches: dict[tuple[str, str, str], set[int]] = {}
    for recipe in recipes:
        batches.setdefault((recipe.algorithm, recipe.backbone, recipe.method), set()).add(
            recipe.batch
        )
    assert batches['faster-rcnn', 'r50', 'agvm-sgd'] == {32, 256, 512, 1024, 1536}
    assert batches['faster-rcnn', 'r50', 'agvm-adamw'] == {32, 256, 512, 1024, 1536}
    assert {32, 1024} <= batches['mask-rcnn', 'r50', 'agvm-sgd']
    assert {32, 2048} <= batches['retinanet', 'r50', 'agvm-sgd']
    assert batches['retinanet', 'r18', 'agvm-sgd'] == {10240}
    assert {32, 1024} <= batches['panoptic-fpn', 'r50', 'agvm-sgd']
    assert {16, 1024} <= batches['fpn', 'r50', 'agvm-sgd']
    assert {16, 1024} <= batches['upernet', 'r50', 'agvm-sgd']
    assert batches['cascade-mask-rcnn', 'swin-l', 'agvm-adamw'] == {960}
    assert batches['faster-rcnn', 'nf-r50', 'agvm-sgd-agc'] == {32, 256, 512, 1024, 1536}
    assert {32, 1536} <= batches['retinanet', 'nf-r50', 'agvm-sgd-agc']
    assert {16, 1024} <= batches['fpn', 'nf-r50', 'agvm-sgd-agc']
    for (algorithm, backbone, method), sizes in batches.items():
        if method == 'agvm-sgd-agc':
            for name in ('sgd-agc', 'adan-agc', 'lars', 'lamb'):
                assert batches[algorithm, backbone, name] == sizes, (algorithm, name)
        if method in ('agvm-sgd', 'agvm-adamw'):
            baselines = ['lamb'] + (['lars'] if method == 'agvm-sgd' else [])
            for name in baselines:
                assert batches[algorithm, backbone, name] >= sizes, (algorithm, name)
            plain = method.removeprefix('agvm-')
            for rule in ('sqrt', 'linear'):
                named = batches[algorithm, backbone, f'{plain}-{rule}']
                assert named | batches.get((algorithm, backbone, plain), set()) == sizes


def base_rate(recipe: Recipe) -> float:
    """Learning rate at batch 16 in the bases: SGD or AdamW, by detector."""
    if 'adamw' in recipe.method:
        return 1e-4 if 'swin' in recipe.backbone else 2e-4
    return {'retinanet': 0.01, 'fpn': 0.01, 'upernet': 0.01}.get(recipe.algorithm, 0.02)


def expected_rate(recipe: Recipe) -> float:
    """The rules that the headers state."""
    if recipe.method == 'lamb':
        return 0.005 * math.sqrt(recipe.batch / 512)
    scale = recipe.batch / 16
    if recipe.method == 'adan-agc':
        return 5 * 2e-4 * math.sqrt(scale)
    if recipe.method.endswith('-linear'):
        return base_rate(recipe) * scale
    if 'adamw' in recipe.method or recipe.dataset != 'coco':
        return base_rate(recipe) * math.sqrt(scale)
    return base_rate(recipe) * (scale if scale <= 8 else math.sqrt(8 * scale))


def updates_per_epoch(recipe: Recipe) -> int:
    return math.ceil(IMAGES_OF[recipe.dataset] / recipe.batch)


def delay(recipe: Recipe) -> int:
    """Updates from the end of the warm-up to the first scaled one."""
    return min(100, updates_per_epoch(recipe) // 2)


class TestRules:
    @every_recipe
    def test_batch_is_that_of_the_name(self, path: Path) -> None:
        recipe, cfg = parse(path), load(path)
        assert cfg.total_batch_size == recipe.batch
        assert cfg.train_dataloader.batch_size == recipe.images
        assert cfg.custom_imports == dict(imports=['agvm_mm'], allow_failed_imports=False)
        assert cfg.get('auto_scale_lr') is None
        assert 'accumulative_counts' not in cfg.optim_wrapper

    @every_recipe
    def test_learning_rate(self, path: Path) -> None:
        recipe = parse(path)
        if not recipe.method.endswith('-released'):
            rate = load(path).optim_wrapper.optimizer.lr
            assert rate == pytest.approx(expected_rate(recipe), rel=1e-12)

    @every_recipe
    def test_optimizer_and_wrapper(self, path: Path) -> None:
        recipe, wrapper = parse(path), load(path).optim_wrapper
        named = {'lars': 'LARSOptimizer', 'lamb': 'LAMBOptimizer', 'adan-agc': 'AdanOptimizer'}
        optimizer = named.get(recipe.method, 'AdamW' if 'adamw' in recipe.method else 'SGD')
        assert wrapper.optimizer.type == optimizer
        assert OPTIMIZERS.get(optimizer) is not None
        house = 'AGVM' if recipe.method.startswith('agvm-') else 'Parts'
        mixed = 'Amp' if '-amp' in path.stem else ''
        assert wrapper.type == f'{house}{mixed}OptimWrapper'
        assert OPTIM_WRAPPERS.get(wrapper.type) is not None
        assert (wrapper.agvm is not None) == recipe.method.startswith('agvm-')
        # A constructor that makes a group of every parameter needs them joined for the step.
        many = 'paramwise_cfg' in wrapper and house == 'Parts'
        assert wrapper.get('join_groups', False) == many
        clipping = wrapper.get('clip_grad')
        split_window(clipping)  # raises on a bad window
        by_units = UnitClipPart.from_config(clipping)  # and on a bad option
        assert (by_units is not None) == recipe.method.endswith('-agc')

    @every_recipe
    def test_length_of_training(self, path: Path) -> None:
        recipe, cfg = parse(path), load(path)
        number, unit = int(re.match(r'\d+', recipe.length)[0]), recipe.length.lstrip('0123456789')
        if unit == 'e':
            assert cfg.train_cfg.max_epochs == number == cfg.param_scheduler[1].end
            return
        total = number * (1000 if unit == 'k' else 1)
        assert total * recipe.batch == 80_000 * 16
        assert cfg.train_cfg.max_iters == total == cfg.param_scheduler[1].end
        assert cfg.train_cfg.val_interval == cfg.default_hooks.checkpoint.interval == total // 10
        assert cfg.default_hooks.checkpoint.by_epoch is False

    @every_recipe
    def test_schedule_warms_up_for_two_epochs(self, path: Path) -> None:
        recipe, cfg = parse(path), load(path)
        warm_up, after = cfg.param_scheduler
        assert (warm_up.type, warm_up.ratio, warm_up.begin) == ('ExponentialWarmupLR', 0.001, 0)
        if recipe.dataset != 'coco':
            assert warm_up.end == after.begin == 2 * updates_per_epoch(recipe)
        elif not recipe.method.endswith('-released'):
            assert (warm_up.end, warm_up.convert_to_iter_based) == (2, True)

    @every_recipe
    def test_schedule_builds(self, path: Path) -> None:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
        for entry in load(path).param_scheduler:
            built = PARAM_SCHEDULERS.build(
                {key: value for key, value in entry.items() if key != '_scope_'},
                default_args=dict(optimizer=optimizer, epoch_length=100),
            )
            built.step()

    @every_agvm_recipe
    def test_settings_are_valid_and_follow_the_rules(self, path: Path) -> None:
        recipe, wrapper = parse(path), load(path).optim_wrapper
        settings = AGVMSettings.from_dict(wrapper.agvm)
        assert settings.precondition == (recipe.method == 'agvm-adamw')
        assert settings.momentum == 0.97
        if recipe.method == 'agvm-released':
            return
        warm_up = 2 * updates_per_epoch(recipe)
        assert settings.begin == warm_up + delay(recipe)
        assert settings.interval == (5 if recipe.batch > 1024 else 10)
        assert settings.averaging == 'moments'
        if recipe.method in ('agvm-sgd', 'agvm-kfac-sgd') and recipe.dataset == 'coco':
            _, window = split_window(wrapper.clip_grad)
            assert (window.begin, window.end) == (warm_up - delay(recipe), settings.begin + 1)

    @every_recipe
    def test_a_baseline_differs_from_its_recipe_by_the_optimizer_alone(self, path: Path) -> None:
        recipe, cfg = parse(path), load(path)
        if recipe.method.startswith('agvm-') or recipe.method.endswith('-curriculum'):
            return
        siblings = [
            other
            for other in AGVM_PATHS
            if other.parent == path.parent
            and parse(other)[1:3] + parse(other)[4:] == recipe[1:3] + recipe[4:]
            and parse(other).path.name in base_of(path)
        ]
        assert len(siblings) == 1, path.name
        ours, theirs = plain(cfg), plain(load(siblings[0]))
        wrappers = ours.pop('optim_wrapper'), theirs.pop('optim_wrapper')
        assert ours == theirs
        allowed = {'type', 'agvm', 'optimizer'} | (
            {'clip_grad'} if recipe.method in ('lars', 'lamb') else set()
        )
        different = {key for key in wrappers[1] if wrappers[0].get(key) != wrappers[1][key]}
        assert different <= allowed
        if recipe.method.endswith(('-sqrt', '-released')) or recipe.method in (
            'sgd',
            'adamw',
            'sgd-agc',
            'kfac-sgd',
        ):
            assert different == {'type', 'agvm'}

    @pytest.mark.parametrize(
        'path', [p for p in PATHS if '_agvm-kfac-' in p.name], ids=lambda path: path.stem
    )
    def test_k_fac_is_all_that_is_added_to_agvm(self, path: Path) -> None:
        ours = plain(load(path))
        theirs = plain(load(path.with_name(path.name.replace('-kfac-', '-'))))
        KFACSettings.from_dict(ours['optim_wrapper'].pop('kfac'))
        assert ours.pop('custom_hooks') == [dict(type='KFACStateHook')]
        assert ours == theirs


def base_of(path: Path) -> str:
    return re.search(r"^_base_ = '(.*)'$", path.read_text(), re.M)[1]
