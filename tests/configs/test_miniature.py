"""The miniature recipes differ in method and batch alone, and all see the same number of images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from recipes import ROOT, header, load, plain

from agvm_runs.reproduce import TABLES
from agvm_runs.reproduce.recipes import Recipe, parse_recipe

pytestmark = pytest.mark.configs

PATHS = sorted(ROOT.glob('configs/miniature/*.py'))
IMAGES = 4096
METHOD_KEYS = (
    'optim_wrapper', 'param_scheduler', 'train_cfg', 'total_batch_size', 'default_hooks',
    'custom_hooks',
)  # fmt: skip


def recipe_of(path: Path) -> Recipe:
    recipe = parse_recipe(path)
    assert recipe is not None, path.name
    return recipe


def family(path: Path) -> tuple[str, str]:
    return recipe_of(path).model, recipe_of(path).dataset


def results(path: Path) -> dict[str, dict[str, Any]]:
    """What the seeds of a recipe have measured, by file."""
    files = (ROOT / 'docs/results/miniature').glob(f'{path.stem}_seed?.json')
    return {file.name: json.loads(file.read_text()) for file in files}


FASTER, NORM_FREE = ('faster-rcnn_r18', 'scenes'), ('faster-rcnn_nf-r18', 'scenes')
RULES = [path for path in PATHS if recipe_of(path).method in ('sgd-linear', 'sgd-sqrt')]
SEARCHED = [path for path in PATHS if path not in RULES]


@pytest.mark.parametrize('path', PATHS, ids=lambda path: path.stem)
def test_name_header_and_lengths_agree(path: Path) -> None:
    recipe, cfg, fields = recipe_of(path), load(path), header(path)
    assert cfg.total_batch_size == recipe.batch
    assert cfg.train_dataloader.batch_size == recipe.images
    assert cfg.train_cfg.max_iters == recipe.length
    assert recipe.trained_images == IMAGES
    assert list(fields) == ['Purpose', 'Hardware', 'Batch', 'Expected', 'Command']
    assert f'at batch {recipe.batch}' in fields['Purpose']
    assert fields['Batch'].startswith(f'{recipe.batch} images')
    assert fields['Command'] == f'python -m lab.miniature --recipes {path.stem}'


@pytest.mark.parametrize('path', PATHS, ids=lambda path: path.stem)
def test_only_the_method_differs_within_a_family(path: Path) -> None:
    def rest(cfg: Config) -> dict[str, Any]:
        return {key: value for key, value in plain(cfg).items() if key not in METHOD_KEYS}

    first = next(one for one in PATHS if family(one) == family(path))
    assert rest(load(path)) == rest(load(first))


@pytest.mark.parametrize('path', PATHS, ids=lambda path: path.stem)
def test_a_family_starts_from_the_weights_of_its_standard_recipe(path: Path) -> None:
    start = Path(load(path).load_from)
    model, _, data = start.stem.rpartition('_')
    assert start.parts[-3:-1] == ('miniature', 'start')
    [standard] = map(recipe_of, path.parent.glob(f'{model}_sgd*_2xb8-256it_{data}.py'))
    assert (standard.model, standard.dataset) == family(path)


@pytest.mark.parametrize('path', PATHS, ids=lambda path: path.stem)
def test_agvm_is_on_where_the_name_says_so(path: Path) -> None:
    agvm = load(path).optim_wrapper.get('agvm')
    assert (agvm is not None) == recipe_of(path).method.startswith('agvm-')
    if agvm is not None:
        warm_up = load(path).param_scheduler[0].end
        assert 0 <= agvm.begin - warm_up <= 1  # from the first update at the full rate on


def test_every_method_is_there_at_every_batch() -> None:
    methods: dict[tuple[str, str], dict[int, set[str]]] = {}
    for path in PATHS:
        recipe = recipe_of(path)
        methods.setdefault(family(path), {}).setdefault(recipe.batch, set()).add(recipe.method)
    pair = {'sgd', 'agvm-sgd'}
    all_batches = pair | {'adamw', 'agvm-adamw', 'lars', 'lamb', 'muon', 'kfac-sgd'}
    rules = {'sgd-linear', 'sgd-sqrt'}
    clipped = {'sgd-agc', 'agvm-sgd-agc', 'adan', 'agvm-adan'}
    assert methods.pop(NORM_FREE) == {16: {'sgd-agc'}, 64: {'sgd-agc'}}
    assert methods.pop(FASTER) == {
        16: all_batches,
        64: all_batches | rules | clipped | {'soap'},
        128: all_batches | rules | {'soap'},
    }
    assert len(methods) == 5
    assert all(one == {16: pair, 128: pair} for one in methods.values())


@pytest.mark.parametrize('path', RULES, ids=lambda path: path.stem)
def test_a_rule_scales_the_tuned_rate_of_the_standard_batch(path: Path) -> None:
    recipe = recipe_of(path)
    standard = load(path.with_name('faster-rcnn_r18_fpn_sgd_2xb8-256it_scenes.py'))
    power = {'sgd-linear': 1.0, 'sgd-sqrt': 0.5}[recipe.method]
    rate = standard.optim_wrapper.optimizer.lr * (recipe.batch / 16) ** power
    assert load(path).optim_wrapper.optimizer.lr == pytest.approx(rate, rel=5e-3)


@pytest.mark.parametrize('path', SEARCHED, ids=lambda path: path.stem)
def test_a_searched_rate_is_the_best_that_was_tried(path: Path) -> None:
    """Of equal scores the lower rate, as in the search."""
    [key] = {table.key for table in TABLES.values() if any(map(path.match, table.recipes))}
    tried = {}
    for file in (ROOT / 'docs/results/miniature/tuning').glob(f'{path.stem}_lr*.json'):
        result = json.loads(file.read_text())
        rate = result['cfg_options']['optim_wrapper.optimizer.lr']
        tried[rate] = result['scores'].get(key, 0.0)
    best = max(tried, key=lambda rate: (tried[rate], -rate))
    assert min(tried) < best < max(tried) or len(tried) == 6
    assert load(path).optim_wrapper.optimizer.lr == pytest.approx(best, rel=5e-3)


@pytest.mark.parametrize('path', PATHS, ids=lambda path: path.stem)
def test_results_are_those_of_the_rate_in_the_file(path: Path) -> None:
    rate = load(path).optim_wrapper.optimizer.lr
    for name, result in results(path).items():
        if 'lr' in result:
            assert result['lr'] == pytest.approx(rate), name
