"""``tools/demo.sh``: what it starts, with a Python that only writes down how it is called."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from launcher import ROOT
from mmengine.config import DictAction

from agvm_mm.compat import has_compiled_ops
from agvm_mm.launch.batch import effective_batch
from agvm_mm.launch.runner import TrainOptions, load_config, prepare_training

IMAGES = 4096
RATE = 'optim_wrapper.optimizer.lr'
TUNING = ROOT / 'docs/results/miniature/tuning'


@pytest.fixture(scope='module')
def calls(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """The arguments of every Python that the demo starts, in their order."""
    folder = tmp_path_factory.mktemp('demo')
    python = folder / 'python'
    python.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" "" >> "{folder}/calls"\n')
    python.chmod(0o755)
    command = ['env', f'PYTHON={python}', 'bash', str(ROOT / 'tools/demo.sh')]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    found = [call.splitlines() for call in (folder / 'calls').read_text().split('\n\n')]
    return [call for call in found if call]


def trainings(calls: list[list[str]]) -> dict[str, list[str]]:
    """The arguments of ``tools/train.py`` by the name of the work directory."""
    found = [call[call.index(str(ROOT / 'tools/train.py')) + 1 :] for call in calls[1:-1]]
    return {Path(call[call.index('--work-dir') + 1]).name: call for call in found}


def test_it_draws_trains_four_times_and_compares(calls: list[list[str]]) -> None:
    assert calls[0][0].endswith('generate_scenes.py')
    runs = trainings(calls)
    assert list(runs) == ['start', 'sgd_16', 'sgd_64', 'muon_64']
    assert all('--quiet' in run and '--launcher' in run for run in runs.values())
    assert all('--nproc_per_node=2' in call for call in calls[1:-1])
    assert calls[-1][0].endswith('compare.py')
    folders = ['work_dirs/demo/sgd_16', 'work_dirs/demo/sgd_64', 'work_dirs/demo/muon_64']
    assert calls[-1][1:4] == folders
    # All three begin with the weights that the first one has written.
    start = 'load_from=work_dirs/demo/start/iter_256.pth'
    assert [start in run for run in runs.values()] == [False, True, True, True]


@pytest.mark.skipif(not has_compiled_ops(), reason="needs mmcv's compiled operators")
def test_the_runs_see_the_same_images_at_the_rates_of_the_search(
    calls: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    expected = {'sgd_16': (16, 0.04), 'sgd_64': (64, 0.08), 'muon_64': (64, 0.012)}
    for name, run in trainings(calls).items():
        cfg = load_config(run[0], cfg_options=_options(run) | {'load_from': None})
        total = int(_after(run, '--total-batch-size') or 0) or None
        rule = _after(run, '--scale-rule')
        prepare_training(cfg, TrainOptions(total_batch_size=total, scale_rule=rule, dry_run=True))
        # One process has twice the micro-batches of two.
        counts = cfg.optim_wrapper.accumulative_counts
        batch = effective_batch(cfg, ranks=1)
        assert cfg.train_cfg.max_iters // counts * batch == IMAGES
        if name == 'start':
            continue
        assert (batch, cfg.optim_wrapper.optimizer.lr) == expected[name]
        # Four validations, the last one at the end.
        assert cfg.train_cfg.max_iters == 4 * cfg.train_cfg.val_interval
        assert (cfg.optim_wrapper.get('agvm') or {}).get('apply') is (
            False if name == 'sgd_16' else None
        )


@pytest.mark.parametrize(
    ('recipe', 'rate', 'loss'),
    [
        ('sgd_2xb8-256it', 0.04, 0.0),
        ('sgd_8xb8-64it', 0.08, 0.003),  # the best is 0.04, with 0.2 box AP more
        ('muon_8xb8-64it', 0.012, 0.0),
    ],
)
def test_no_rate_of_the_search_is_better(recipe: str, rate: float, loss: float) -> None:
    scores = {}
    for path in TUNING.glob(f'faster-rcnn_r18_fpn_{recipe}_scenes_lr*_seed100.json'):
        run = json.loads(path.read_text())
        scores[run['cfg_options'][RATE]] = run['scores']['coco/bbox_mAP']
    best = max(scores, key=scores.__getitem__)
    assert min(scores) < best < max(scores) and rate in scores
    assert scores[best] - scores[rate] <= loss


def _after(run: list[str], option: str) -> str | None:
    return run[run.index(option) + 1] if option in run else None


def _options(run: list[str]) -> dict[str, Any]:
    pairs = run[run.index('--cfg-options') + 1 :]
    parsed = (pair.split('=', 1) for pair in pairs)
    return {key: DictAction._parse_iterable(value) for key, value in parsed}
