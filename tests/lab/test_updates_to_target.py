"""Several recipes and seeds, one after the other in one process, by the tool."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from launcher import ROOT, run_tool

RECIPE = """
_base_ = '{root}/configs/faster_rcnn/faster-rcnn_r18_fpn_{method}_2xb16-16e_scenes.py'
total_batch_size = 4
train_dataloader = dict(batch_size=2, dataset=dict(indices=8))
train_cfg = dict(max_epochs=3, val_interval=1)
"""


@pytest.mark.slow
def test_recipes_and_seeds_follow_each_other(scenes: Path, tmp_path: Path) -> None:
    configs = []
    for method in ('sgd', 'kfac-sgd'):
        configs.append(tmp_path / f'{method}.py')
        configs[-1].write_text(RECIPE.format(root=ROOT, method=method))
    out = tmp_path / 'out.json'
    text = run_tool(
        'lab.updates_to_target',
        *configs,
        *('--seeds', 0, 1, '--loss', 100, '--window', 1, '--score', -1, '--out', out),
        *('--cfg-options', 'train_cfg.max_epochs=2'),
        data=scenes,
    )
    content = json.loads(out.read_text())
    runs = {(run['recipe'], run['seed']): run for run in content['runs']}
    assert set(runs) == {(name, seed) for name in ('sgd', 'kfac-sgd') for seed in (0, 1)}
    for run in runs.values():
        assert len(run['losses']) == len(run['seconds']) == 4  # 8 images, 4 an update, twice
        assert [updates for updates, _ in run['scores']] == [2, 4]
        assert run['peak_bytes'] > 1_000_000
    first = {key: run['losses'][0] for key, run in runs.items()}
    assert first['sgd', 0] == first['kfac-sgd', 0] != first['sgd', 1]  # same weights and images
    assert [
        line for line in text.splitlines() if line.startswith('| kfac-sgd | 1 | 1.00 ± 0.00 | 2 |')
    ]
