"""Recipes at larger batches, frozen: what the rules make of the recipe at batch 16.

The numbers are those of the files that were once written by hand for every batch, except for
``eta_min``, which these files kept at 1e-4 and which follows the learning rate.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from recipes import ROOT, load, resolved

pytestmark = pytest.mark.configs

CELLS = json.loads(Path(__file__).with_name('rescaled.json').read_text())


def compare(cfg: Config, expected: dict[str, Any]) -> None:
    found = numbers_of(cfg)
    assert set(found) == set(expected)
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, rel=1e-9), key


def numbers_of(cfg: Config) -> dict[str, Any]:
    """The numbers of a resolved config that depend on the batch, and some that must not."""
    wrapper, (warm_up, after) = cfg.optim_wrapper, cfg.param_scheduler
    clipping = wrapper.get('clip_grad') or {}
    found = dict(
        lr=wrapper.optimizer.lr,
        weight_decay=wrapper.optimizer.weight_decay,
        begin=(wrapper.get('agvm') or {}).get('begin'),
        interval=(wrapper.get('agvm') or {}).get('interval'),
        clip=[clipping['begin'], clipping['end']] if 'begin' in clipping else None,
        warmup_epochs=warm_up.end if warm_up.by_epoch else None,
        warmup_updates=None if warm_up.by_epoch else warm_up.end,
        milestones=after.get('milestones'),
        eta_min=after.get('eta_min'),
        epochs=cfg.train_cfg.get('max_epochs'),
        updates=cfg.train_cfg.get('max_iters'),
    )
    return {key: value for key, value in found.items() if value is not None}


@pytest.mark.parametrize(
    'cell', CELLS, ids=lambda cell: f'{Path(cell["recipe"]).stem}-{cell["batch"]}'
)
def test_the_rules_make_the_larger_recipe(cell: dict[str, Any]) -> None:
    cfg = resolved(ROOT / 'configs' / cell['recipe'], cell['batch'], cell.get('rule'))
    assert cfg.total_batch_size == cell['batch']
    compare(cfg, cell['numbers'])


@pytest.mark.parametrize('cell', [c for c in CELLS if 'file' in c], ids=lambda c: str(c['batch']))
def test_a_recipe_that_sets_the_batch_alone_is_rescaled_by_itself(cell: dict[str, Any]) -> None:
    path = ROOT / 'configs' / cell['file']
    assert load(path).total_batch_size == cell['batch']
    compare(resolved(path), cell['numbers'])


def test_the_table_has_every_model_and_rule() -> None:
    assert len(CELLS) >= 20
    assert {cell['batch'] for cell in CELLS} >= {32, 64, 256, 512, 960, 1024, 1536, 2048, 10240}
    assert {cell.get('rule') for cell in CELLS} == {None, 'linear'}
    folders = {cell['recipe'].split('/')[0] for cell in CELLS}
    assert len(folders) == 9
