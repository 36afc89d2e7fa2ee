"""Many trainings in processes of their own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from launch_toy import recorded, write_config

from agvm_mm.launch.sweep import Training, run_all

RATE = 'optim_wrapper.optimizer.lr'


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)
    monkeypatch.setenv('PYTHONPATH', os.path.dirname(__file__))
    return write_config(tmp_path)


def training(config: Path, name: str, seed: int = 0, **options: Any) -> Training:
    return Training(config, config.parent / name, seed, options)


def test_each_training_has_its_own_seed_options_and_exit_code(config: Path) -> None:
    options: list[dict[str, Any]] = [{RATE: 0.1}, {'train_cfg.max_iters': 'many'}, {RATE: 0.2}]
    trainings = [training(config, f'run{i}', i, **extra) for i, extra in enumerate(options)]
    codes = {one.seed: code for one, code in run_all(trainings, workers=2)}
    assert codes == {0: 0, 1: 1, 2: 0}
    assert recorded(trainings[0].work_dir)[0]['lr'] == pytest.approx(0.1)
    assert recorded(trainings[2].work_dir)[0]['lr'] == pytest.approx(0.2)
    assert 'Error' in (trainings[1].work_dir / 'output.txt').read_text()


def test_trainings_end_with_the_caller(config: Path) -> None:
    trainings = [
        training(config, 'short', **{'train_cfg.max_iters': 1}),
        training(config, 'endless', **{'train_cfg.max_iters': 10**9}),
    ]
    ends = run_all(trainings, workers=2)
    assert next(ends)[0] is trainings[0]
    ends.close()
    import multiprocessing

    for process in multiprocessing.active_children():
        process.join(20)
    assert not multiprocessing.active_children()
