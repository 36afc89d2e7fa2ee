"""A recipe that inherits a whole config of the library changes its warm-up and optimizer alone.

The library's own is the oracle: batch, model, data, evaluation, length, the rate of AdamW, its
decay and its factors by parameter.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from recipes import ROOT, WHOLE, load, parse, plain, resolved
from test_recipes import equal

pytestmark = pytest.mark.configs

THREE, TWO = {'adamw', 'agvm-adamw', 'muon'}, {'adamw', 'agvm-adamw'}
LIBRARY = {
    'rtmdet/rtmdet_cspnext-s_*_8xb32-300e_coco': (
        'mmdet::rtmdet/rtmdet_s_8xb32-300e_coco.py',
        THREE,
    ),
    'dino/dino_r50_*_8xb2-12e_coco': ('mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py', THREE),
    'mask2former/mask2former_r50_*_8xb2-368750it_coco': (
        'mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco.py',
        THREE,
    ),
    'mask2former/mask2former_r50_*_8xb2-160k_ade20k-512x512': (
        'mmseg::mask2former/mask2former_r50_8xb2-160k_ade20k-512x512.py',
        TWO,
    ),
    'segformer/segformer_mit-b0_*_8xb2-160k_ade20k-512x512': (
        'mmseg::segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py',
        THREE,
    ),
}
OURS = {'optim_wrapper', 'param_scheduler', 'custom_hooks', 'custom_imports', 'auto_scale_lr'}
EXACT = dict(type='ExactAccumulationHook')
CASES = [
    (path, library)
    for pattern, (library, _) in LIBRARY.items()
    for path in sorted(ROOT.glob(f'configs/{pattern}.py'))
]
every_case = pytest.mark.parametrize(('path', 'library'), CASES, ids=lambda one: Path(one).stem)


def theirs_of(library: str, folder: Path) -> dict[str, Any]:
    child = folder / 'child.py'
    child.write_text(f"_base_ = '{library}'\n")
    return plain(Config.fromfile(child))


def test_the_methods_of_each() -> None:
    for pattern, (_, methods) in LIBRARY.items():
        found = [parse(path).method for path in ROOT.glob(f'configs/{pattern}.py')]
        assert sorted(found) == sorted(methods)
    assert sorted(path for path, _ in CASES) == WHOLE


@every_case
def test_all_else_is_the_librarys(path: Path, library: str, tmp_path: Path) -> None:
    ours, theirs = plain(load(path)), theirs_of(library, tmp_path)
    assert theirs['train_dataloader']['batch_size'] == parse(path).images
    assert ours.pop('total_batch_size') == 8 * parse(path).images
    hooks = list(ours.get('custom_hooks', []))
    if parse(path).algorithm != 'segformer':
        hooks.remove(EXACT)  # its head averages no counts
    assert equal(hooks, theirs.get('custom_hooks', []))
    assert equal(ours['param_scheduler'][1:], own_schedule(theirs))
    if parse(path).length.endswith('it'):  # mmdet would log the scores of iterations by epoch
        assert ours['default_hooks']['logger'].pop('log_metric_by_epoch') is False
    for key in OURS:
        ours.pop(key, None), theirs.pop(key, None)
    assert equal(ours, theirs)


def own_schedule(theirs: dict[str, Any]) -> list[dict[str, Any]]:
    """Theirs without the warm-up; a polynomial begins where ours ends."""
    given = theirs['param_scheduler']
    entries = [given] if isinstance(given, dict) else given
    left = [dict(entry) for entry in entries if entry['type'] != 'LinearLR']
    for entry in left:
        if entry['type'] == 'PolyLR':
            entry['begin'] = 2528
    return left


@every_case
def test_rates_and_factors_are_the_librarys(path: Path, library: str, tmp_path: Path) -> None:
    ours = plain(load(path))['optim_wrapper']
    theirs = theirs_of(library, tmp_path)['optim_wrapper']
    for key in ('clip_grad', 'paramwise_cfg'):
        assert ours.get(key) == theirs.get(key)
    given, expected = ours['optimizer'], theirs['optimizer']
    assert expected['type'] == 'AdamW'
    if parse(path).method == 'muon':  # the rule that lets it keep AdamW's numbers
        expected = {key: expected[key] for key in ('lr', 'weight_decay')}
        expected |= dict(type='MuonOptimizer', adjust_lr='match_rms_adamw')
        assert ours['constructor'] == 'MuonOptimWrapperConstructor'
    assert given == expected


@every_case
def test_at_four_times_the_batch_the_same_images_pass(path: Path, library: str) -> None:
    base, cfg = load(path), resolved(path, 4 * parse(path).batch)
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(2 * base.optim_wrapper.optimizer.lr)
    if 'max_iters' in base.train_cfg:
        assert cfg.train_cfg.max_iters == pytest.approx(base.train_cfg.max_iters / 4, abs=1)
        assert cfg.param_scheduler[-1].end == cfg.train_cfg.max_iters
        assert cfg.param_scheduler[0].end == pytest.approx(base.param_scheduler[0].end / 4, abs=1)
    else:
        assert cfg.train_cfg.max_epochs == base.train_cfg.max_epochs
