"""What a run shows: short lines, the table and the verdict; all numbers still reach the files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import launch_toy
import pytest
from mmengine.config import Config

from agvm_mm.launch.runner import TrainOptions, build_runner, prepare_training
from agvm_runs.verdict import CAVEAT

MODULES = dict(backbone=['conv.weight'], head=['conv.bias'])
ACCUMULATED = dict(optimizer=dict(type='SGD', lr=0.01))


def _config(folder: Path, **keys: Any) -> Config:
    wrapper = dict(ACCUMULATED, type='AGVMOptimWrapper', agvm=dict(interval=1, modules=MODULES))
    entries: dict[str, Any] = dict(
        optim_wrapper=wrapper,
        train_cfg=dict(by_epoch=False, max_iters=6),
        visualizer=dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')]),
        custom_hooks=[],
        total_batch_size=8,  # 4 micro-batches of 2 images
        default_hooks=dict(logger=dict(type='LoggerHook', interval=2)),
        experiment_name=folder.name,
    )
    cfg = launch_toy.config(folder, **(entries | keys))
    cfg.launcher = 'none'
    return cfg


def _train(cfg: Config) -> tuple[str, list[dict[str, Any]]]:
    """The log and the scalars of a run."""
    build_runner(cfg, prepare_training(cfg, TrainOptions())).train()
    folder = Path(cfg.work_dir)
    (log,), (scalars,) = folder.glob('*/*.log'), folder.glob('*/vis_data/scalars.json')
    return log.read_text(), [json.loads(line) for line in scalars.read_text().splitlines()]


def test_a_line_has_one_column_of_scales(tmp_path: Path, quick_start: None) -> None:
    log, scalars = _train(_config(tmp_path))
    lines = [line for line in log.splitlines() if '(train)' in line]
    assert len(lines) == 3 and not any('agvm/' in line for line in lines)
    last = scalars[-1]
    shown = '/'.join(f'{last[f"agvm/scale/{name}"]:.2f}' for name in MODULES)
    assert re.search(rf'loss: \S+  update: 6/6  scale {shown}$', lines[-1])
    assert {'agvm/phi/head', 'agvm/phi_low/head', 'agvm/noise_scale/head', 'agvm/head.lr'} <= {
        *last
    }


def test_the_log_interval_is_said_in_both_units(tmp_path: Path, quick_start: None) -> None:
    log, _ = _train(_config(tmp_path))
    assert 'A log line is written every 2 updates, that is 8 iterations.' in log


def test_the_table_and_the_verdict_come_at_the_end(tmp_path: Path, quick_start: None) -> None:
    log, _ = _train(_config(tmp_path))
    assert log.count('AGVM after 6 updates') == 1
    assert re.search(r'head: batch 8 is .* times the noise scale', log)
    assert 'The model: doubling batch 8 saves at most' in log and CAVEAT in log


@pytest.mark.parametrize(
    'lines', [dict(type='AGVMLogProcessor', full=True), dict(type='mmengine.LogProcessor')]
)
def test_full_lines_on_request(tmp_path: Path, quick_start: None, lines: dict[str, Any]) -> None:
    cfg = _config(tmp_path, log_processor=lines)
    if 'full' not in lines:  # as with another launcher
        cfg.log_processor = None
        notes = prepare_training(cfg, TrainOptions())
        cfg.log_processor['type'] = 'LogProcessor'
        build_runner(cfg, notes).train()
        (log,) = tmp_path.glob('*/*.log')
        text = log.read_text()
    else:
        text, _ = _train(cfg)
    assert 'agvm/phi/head' in text and 'update: ' not in text


def test_a_run_without_our_wrapper_is_left_alone(tmp_path: Path) -> None:
    cfg = _config(tmp_path, optim_wrapper=dict(ACCUMULATED, type='OptimWrapper'))
    prepare_training(cfg, TrainOptions())
    assert 'type' not in (cfg.get('log_processor') or {}) and not cfg.get('custom_hooks')


def test_a_table_of_the_config_stays(tmp_path: Path) -> None:
    cfg = _config(tmp_path, custom_hooks=[dict(type='VarianceTableHook')])
    prepare_training(cfg, TrainOptions())
    assert cfg.custom_hooks == [dict(type='VarianceTableHook')]
