"""Batches without an object: the mask head has no gradient, all else goes on."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('mmcv._ext', reason='mmdet needs the compiled ops of mmcv')

import training_runs as runs

CONFIG = runs.CONFIG.with_name('tiny_mask_rcnn.py')
MASK_HEAD = 'roi_head.mask_head'
LOWEST, HIGHEST = math.sqrt(0.5), math.sqrt(10)


@pytest.fixture(scope='module')
def sparse(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scenes with the objects of two of the twelve images alone."""
    data = tmp_path_factory.mktemp('sparse')
    shutil.copytree(scenes, data, dirs_exist_ok=True)
    file = data / 'scenes' / 'annotations' / 'instances_train2017.json'
    content = json.loads(file.read_text())
    content['annotations'] = [a for a in content['annotations'] if a['image_id'] in (3, 8)]
    file.write_text(json.dumps(content))
    return data


def _train(data: Path, work_dir: Path, **agvm: Any) -> list[list[dict[str, Any]]]:
    """What each rank saw in the iterations of three epochs."""
    options = {f'optim_wrapper.agvm.{key}': value for key, value in agvm.items()}
    options['train_cfg.max_epochs'] = 3
    first, second = runs.train(data, work_dir, config=CONFIG, options=options)
    assert runs.differences(first['weights'], second['weights']) == []
    assert all(weight.isfinite().all() for weight in first['weights'])
    for a, b in zip(first['steps'], second['steps']):
        assert a['modules'] == b['modules']
        assert math.isfinite(a['loss']) and math.isfinite(b['loss'])
    return [first['steps'], second['steps']]


def test_a_module_without_gradient_keeps_its_scale(sparse: Path, tmp_path: Path) -> None:
    before: dict[str, float] = {}
    kinds = []
    for update, steps in enumerate(zip(*_train(sparse, tmp_path)), start=1):
        with_objects = sum(step['objects'] > 0 for step in steps)
        modules = steps[0]['modules']
        mask_head = modules[MASK_HEAD]
        if with_objects == 0:
            assert mask_head == before or (mask_head['scale'], mask_head['estimates']) == (1, 0)
        else:
            assert mask_head['estimates'] == before.get('estimates', 0) + 1
            assert LOWEST <= mask_head['scale'] <= HIGHEST
        before = mask_head
        for name in ('backbone', 'neck', 'rpn_head', 'roi_head.bbox_head'):
            assert modules[name]['estimates'] == update
            assert LOWEST <= modules[name]['scale'] <= HIGHEST
        assert modules['backbone']['scale'] == 1
        kinds.append(with_objects)
    assert kinds.count(0) >= 2 and kinds.count(1) >= 2, 'the data must make both kinds of batches'
    assert before['scale'] != 1


def test_an_anchor_without_gradient_keeps_all_scales(sparse: Path, tmp_path: Path) -> None:
    history = [
        (any(step['objects'] for step in steps), steps[0]['modules'])
        for steps in zip(*_train(sparse, tmp_path, anchor=MASK_HEAD))
    ]
    for (_, before), (with_objects, after) in zip(history, history[1:]):
        assert (after != before) == with_objects
    with_objects, modules = zip(*history)
    assert with_objects.count(False) >= 2
    assert modules[-1]['backbone']['scale'] != 1 and modules[-1][MASK_HEAD]['scale'] == 1
