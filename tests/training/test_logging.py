"""Per-module curves reach the log, the JSON file and TensorBoard through MMEngine's Runner."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.registry import VISUALIZERS
from mmengine.runner import Runner
from networks import ReplayNet
from torch.utils.data import Dataset

import agvm_mm  # noqa: F401

MODULES = ('backbone', 'neck', 'bbox_head')
QUANTITIES = ('phi', 'phi_low', 'phi_high', 'noise_scale', 'scale')
EXPECTED = {f'agvm/{q}/{m}' for q in QUANTITIES for m in MODULES} | {
    f'agvm/{m}.lr' for m in MODULES
}


class Gradients(Dataset):
    """Prescribed gradients, one an image."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(index)
        return dict(inputs=2 + torch.randn(30, generator=generator))


@pytest.fixture(scope='module')
def work_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four updates of two micro-batches."""
    pytest.importorskip('tensorboard', reason='TensorBoard is not installed')
    folder = tmp_path_factory.mktemp('run')
    runner = Runner(
        model=ReplayNet(dict.fromkeys(MODULES, 10), torch.zeros(30)),
        work_dir=str(folder),
        train_dataloader=dict(
            batch_size=1, dataset=Gradients(), sampler=dict(type='DefaultSampler', shuffle=False)
        ),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(
            type='AGVMOptimWrapper',
            optimizer=dict(type='SGD', lr=0.01),
            accumulative_counts=2,
            agvm=dict(interval=1),
        ),
        default_hooks=dict(logger=dict(type='LoggerHook', interval=2)),
        visualizer=dict(
            type='Visualizer',
            name='curves',
            vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')],
        ),
        experiment_name='curves',
    )
    runner.train()
    return folder


def test_the_json_file_has_every_curve(work_dir):
    (path,) = work_dir.glob('*/vis_data/scalars.json')
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(entries) == 4
    assert EXPECTED <= set(entries[-1])
    assert entries[-1]['agvm/neck.lr'] == pytest.approx(
        0.01 * entries[-1]['agvm/scale/neck'], rel=1e-6
    )


def test_tensorboard_has_every_curve(work_dir):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (events,) = work_dir.glob('*/vis_data/events.out.tfevents.*')
    accumulator = EventAccumulator(str(events))
    accumulator.Reload()
    assert EXPECTED <= set(accumulator.Tags()['scalars'])
    (path,) = work_dir.glob('*/vis_data/scalars.json')
    last = json.loads(path.read_text().splitlines()[-1])
    found = accumulator.Scalars('agvm/phi/neck')[-1].value
    assert found == pytest.approx(last['agvm/phi/neck'], rel=1e-5)


def test_the_log_names_the_modules_once_and_prints_the_rates(work_dir):
    (path,) = work_dir.glob('*/*.log')
    text = path.read_text()
    assert text.count('AGVM: all_pairs over 2 sample gradients (1 rank x 2 micro-batches)') == 1
    assert 'backbone' in text and '(anchor)' in text
    assert 'agvm/neck.lr: ' in text and 'agvm/phi/neck: ' in text


@pytest.mark.parametrize('run', [1, 2])
def test_runs_of_one_second_in_two_tests_have_files_of_their_own(run: int, tmp_path: Path):
    """Their name is the time, and MMEngine has one visualizer of a name."""
    options = dict(name='20260101_000000', save_dir=str(tmp_path))
    backends = [dict(type='LocalVisBackend')]
    visualizer = VISUALIZERS.build(dict(type='Visualizer', vis_backends=backends, **options))
    visualizer.add_scalar('loss', run)
    assert list(tmp_path.rglob('scalars.json'))
