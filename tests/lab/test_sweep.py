"""Many trainings in processes of their own."""

from __future__ import annotations

import multiprocessing
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from launch_toy import recorded, write_config

from agvm_mm.launch.errors import LaunchError
from lab.trainings.sweep import Training, run_all

RATE = 'optim_wrapper.optimizer.lr'
# Asking compilers for their versions takes seconds; what is printed goes to output.txt.
QUICK = """
import os

import mmengine.runner.runner
import torch

mmengine.runner.runner.collect_env = dict
print(f'{torch.get_num_threads()} threads, GPU {os.environ.get("CUDA_VISIBLE_DEVICES")}')
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / 'sweep_quick.py').write_text(QUICK)
    monkeypatch.syspath_prepend(tmp_path)  # the processes get the path of this one
    imports = dict(imports=['launch_toy', 'sweep_quick'], allow_failed_imports=False)
    return write_config(tmp_path, custom_imports=imports)


def training(config: Path, name: str, seed: int = 0, **options: Any) -> Training:
    return Training(config, config.parent / name, seed, options)


def test_each_training_has_its_own_seed_options_exit_code_and_memory(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a fork inherits, such as the use of a GPU, would make the recorder write nothing."""
    monkeypatch.setattr('launch_toy.UpdateRecorder.after_train', lambda *_: None)
    monkeypatch.setattr(torch, 'get_num_threads', lambda: 3)
    options: list[dict[str, Any]] = [{RATE: 0.1}, {'train_cfg.max_iters': 'many'}, {RATE: 0.2}]
    trainings = [training(config, f'run{i}', i, **extra) for i, extra in enumerate(options)]
    codes = {one.seed: code for one, code in run_all(trainings, workers=2)}
    assert codes == {0: 0, 1: 1, 2: 0}
    assert recorded(trainings[0].work_dir)[0]['lr'] == pytest.approx(0.1)
    assert recorded(trainings[2].work_dir)[0]['lr'] == pytest.approx(0.2)
    assert 'Error' in (trainings[1].work_dir / 'output.txt').read_text()
    assert '3 threads' in (trainings[0].work_dir / 'output.txt').read_text()


def test_trainings_end_with_the_caller(config: Path) -> None:
    trainings = [
        training(config, 'short', **{'train_cfg.max_iters': 1}),
        training(config, 'endless', **{'train_cfg.max_iters': 10**9}),
    ]
    others = multiprocessing.active_children()
    ends = run_all(trainings, workers=2)
    assert next(ends)[0] is trainings[0]
    started = [one for one in multiprocessing.active_children() if one not in others]
    assert len(started) == 1
    ends.close()
    started[0].join(120)
    assert started[0].exitcode == -signal.SIGTERM


def test_no_workers_are_refused_before_anything_is_asked_for(config: Path) -> None:
    with pytest.raises(LaunchError, match='^0 trainings at a time were asked for; allowed is'):
        run_all([training(config, 'run')], workers=0)


def test_gpus_are_shared_out(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two at a time have a GPU each, which the next training takes over."""
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '4, 7')
    trainings = [training(config, f'run{i}') for i in range(3)]
    assert [code for _, code in run_all(trainings, workers=2)] == [0] * 3
    texts = [(one.work_dir / 'output.txt').read_text() for one in trainings]
    used = [re.findall(r'threads, GPU (.*)', text) for text in texts]
    assert used[:2] == [['4'], ['7']] and used[2] in (['4'], ['7'])
