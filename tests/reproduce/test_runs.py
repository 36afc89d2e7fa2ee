"""What a work directory tells: seeds, the last evaluation, progress."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from logs import LINE, evaluation, train_line, write_run
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS
from mmengine.runner import Runner
from torch import Tensor, nn, ones, stack
from torch.utils.data import Dataset

from agvm_runs.reproduce.runs import Run, find_runs

KEY = 'coco/bbox_mAP'
STEM = 'faster-rcnn_r50_fpn_sgd_8xb2-12e_coco'
DONE = [
    train_line(1, 50),
    evaluation(11, coco__bbox_mAP=0.3),
    train_line(12, 600),
    evaluation(12, coco__bbox_mAP=0.371),
]


def test_the_last_evaluation_of_every_seed_counts(tmp_path: Path) -> None:
    write_run(tmp_path / STEM, DONE)
    for seed in (10, 2):
        final = evaluation(12, coco__bbox_mAP=seed / 100)
        write_run(tmp_path / f'{STEM}_seed{seed}', [*DONE[:-1], final])
    runs = find_runs(tmp_path, STEM, KEY)
    assert [(run.seed, run.value, run.finished) for run in runs] == [
        (None, 0.371, True),
        (2, 0.02, True),
        (10, 0.1, True),
    ]


def test_other_folders_are_not_runs_of_the_recipe(tmp_path: Path) -> None:
    for name in (f'{STEM}_seed', f'{STEM}_seed1x', f'{STEM}-old', f'{STEM}x_seed1', 'x' + STEM):
        write_run(tmp_path / name, DONE)
    (tmp_path / f'{STEM}_seed3').mkdir()  # nothing written yet
    (tmp_path / f'{STEM}_seed4').write_text('a file')
    assert find_runs(tmp_path, STEM, KEY) == []


def test_a_run_of_another_batch_is_not_that_of_the_cell(tmp_path: Path) -> None:
    """tools/train.py puts every batch of a recipe into one folder, unless it is told otherwise."""
    scalars = write_run(tmp_path / STEM, DONE)
    config = scalars.parent / 'config.py'
    config.write_text(config.read_text() + 'total_batch_size = 512\n')
    assert find_runs(tmp_path, STEM, KEY, batch=16) == []
    assert len(find_runs(tmp_path, STEM, KEY, batch=512)) == 1
    assert len(find_runs(tmp_path, STEM, KEY)) == 1


def test_a_missing_work_root_has_no_runs(tmp_path: Path) -> None:
    assert find_runs(tmp_path / 'absent', STEM, KEY) == []


def test_neither_checkpoints_nor_configs_are_executed(tmp_path: Path) -> None:
    scalars = write_run(tmp_path / STEM, DONE)
    (tmp_path / STEM / 'epoch_12.pth').write_bytes(b'cos\nsystem\n(S"exit 1"\ntR.')
    config = scalars.parent / 'config.py'
    config.write_text('raise RuntimeError\n' + config.read_text())
    (run,) = find_runs(tmp_path, STEM, KEY)
    assert run.finished and run.value == 0.371


def test_a_resumed_run_is_one_run(tmp_path: Path) -> None:
    folder = tmp_path / STEM
    write_run(
        folder,
        [train_line(1, 50), evaluation(6, coco__bbox_mAP=0.2), train_line(7, 350)],
        tail='{"lr": 0.02, "ep',
    )
    write_run(
        folder, [train_line(7, 350), evaluation(12, coco__bbox_mAP=0.36)], stamp='20260102_000000'
    )
    (run,) = find_runs(tmp_path, STEM, KEY)
    assert run.finished and run.value == 0.36


def test_a_run_that_begins_again_replaces_what_was_there(tmp_path: Path) -> None:
    write_run(tmp_path / STEM, DONE)
    path = write_run(tmp_path / STEM, [train_line(1, 50)], stamp='20260102_000000')
    (run,) = find_runs(tmp_path, STEM, KEY, now=path.stat().st_mtime)
    assert (run.finished, run.value, run.progress) == (False, None, 'epoch 1/12')


def test_a_curriculum_is_finished_at_its_real_length(tmp_path: Path) -> None:
    """Its config has the epochs of the run at full size, and its log those that it makes."""
    longer = {'curriculum/length': 23.0, 'curriculum/compute': 0.4}
    path = write_run(
        tmp_path / STEM,
        [{**train_line(12, 600), **longer}, evaluation(12, coco__bbox_mAP=0.2)],
    )
    (run,) = find_runs(tmp_path, STEM, KEY, now=path.stat().st_mtime)
    assert (run.finished, run.value, run.progress) == (False, 0.2, 'epoch 12/23')
    resumed = [{**train_line(23, 1150), **longer}, evaluation(23, coco__bbox_mAP=0.3)]
    write_run(tmp_path / STEM, resumed, stamp='20260102_000000')
    (run,) = find_runs(tmp_path, STEM, KEY)
    assert (run.finished, run.value) == (True, 0.3)


@pytest.mark.parametrize(
    ('text', 'sentence'),
    [
        ('[1', 'is not the result of a run'),
        ('{"scores": {"mIoU": 0.5}}', f"'{KEY}' is no result of this run; there are mIoU"),
        (f'{{"scores": {{"{KEY}": "high"}}}}', 'has no usable score'),
        (f'{{"scores": {{"{KEY}": [1]}}}}', 'has no usable score'),
    ],
)
def test_a_foreign_file_of_that_name_is_named(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / f'{STEM}.json').write_text(text)
    with pytest.raises(ValueError, match=f'{STEM}.json .*{sentence}'):
        find_runs(tmp_path, STEM, KEY)


LOG = (
    f'{LINE}Epoch(train)  [7][ 50/100]  lr: 2.0e-02  eta: 2:00:00  time: 0.5  loss: 1.0\n'
    f'{LINE}Epoch(train)  [7][100/100]  lr: 2.0e-02  eta: 1 day, 1:02:03  time: 0.5  loss: 1.0\n'
    f'{LINE}Epoch(val)  [7][50/100]    eta: 0:00:05  time: 0.2  data_time: 0.1\n'
)


@pytest.mark.parametrize(
    ('loss', 'age', 'expected'),
    [
        (1.0, 60, 'epoch 7/12, eta 1 day, 1:02:03'),
        (1.0, 7200, 'epoch 7/12, eta 1 day, 1:02:03, silent for 2.0 h'),
        (math.nan, 60, 'epoch 7/12, loss nan, eta 1 day, 1:02:03'),
        (math.inf, 60, 'epoch 7/12, loss inf, eta 1 day, 1:02:03'),
    ],
)
def test_progress_of_a_running_cell(tmp_path: Path, loss: float, age: float, expected: str) -> None:
    entries = [train_line(1, 100), evaluation(6, coco__bbox_mAP=0.2), train_line(7, 700, loss)]
    path = write_run(tmp_path / STEM, entries, log=LOG)
    (run,) = find_runs(tmp_path, STEM, KEY, now=path.stat().st_mtime + age)
    assert (run.finished, run.value, run.progress) == (False, 0.2, expected)


@pytest.mark.parametrize('name', ['0.log', 'z.log'])
def test_the_remaining_time_is_from_the_log_of_the_run(tmp_path: Path, name: str) -> None:
    """Another log in its folder may be listed before or after it."""
    path = write_run(tmp_path / STEM, [train_line(7, 700)], log=LOG)
    (path.parents[1] / name).write_text(LOG.replace('1 day, 1:02:03', '9:09:09'))
    (run,) = find_runs(tmp_path, STEM, KEY, now=path.stat().st_mtime)
    assert run.progress == 'epoch 7/12, eta 1 day, 1:02:03'


def test_lengths_in_iterations(tmp_path: Path) -> None:
    entries = [train_line(1, 8000), evaluation(8000, mIoU=30.5)]
    log = f'{LINE}Iter(train) [ 8000/80000]  lr: 1.0e-02  eta: 9:00:00  time: 0.5  loss: 1.0\n'
    path = write_run(tmp_path / 'a', entries, 'max_iters=80000', log)
    (run,) = find_runs(tmp_path, 'a', 'mIoU', now=path.stat().st_mtime)
    assert (run.finished, run.progress) == (False, 'iter 8000/80000, eta 9:00:00')
    write_run(tmp_path / 'b', [*entries, evaluation(80000, mIoU=37.5)], 'max_iters=80000')
    (run,) = find_runs(tmp_path, 'b', 'mIoU')
    assert (run.finished, run.value) == (True, 37.5)


def test_an_evaluation_that_found_nothing_is_no_score(tmp_path: Path) -> None:
    write_run(tmp_path / STEM, [train_line(12, 600), evaluation(12)])
    (run,) = find_runs(tmp_path, STEM, KEY)
    assert (run.finished, run.value, run.progress) == (True, None, 'finished without a score')


@DATASETS.register_module()
class ReproduceOnes(Dataset):
    """Four inputs."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return dict(inputs=ones(1))


class LookHook(Hook):
    """Reads the work directory just before every evaluation."""

    def __init__(self, work_root: Path) -> None:
        self.work_root = work_root
        self.seen: list[list[Run]] = []

    def before_val(self, runner: Any) -> None:
        self.seen.append(find_runs(self.work_root, STEM, KEY))


@MODELS.register_module()
class ReproduceToy(BaseModel):
    """One weight."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def forward(self, inputs: Any, mode: str = 'tensor') -> Any:
        out = self.layer(stack(inputs))
        return dict(loss=out.square().mean()) if mode == 'loss' else [dict(out=1.0)]


@METRICS.register_module()
class ReproduceMetric(BaseMetric):
    """Counts its calls in hundredths."""

    default_prefix = 'coco'
    calls = 0

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.append(1)

    def compute_metrics(self, results: list[int]) -> dict[str, float]:
        type(self).calls += 1
        return dict(bbox_mAP=self.calls / 100)


@pytest.mark.parametrize('by_epoch', [True, False])
def test_what_mmengine_really_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_epoch: bool
) -> None:
    monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)
    monkeypatch.setattr(ReproduceMetric, 'calls', 0)
    loader = dict(
        batch_size=1,
        num_workers=0,
        dataset=dict(type='ReproduceOnes'),
        sampler=dict(type='DefaultSampler', shuffle=False),
    )
    length = (
        dict(by_epoch=True, max_epochs=2)
        if by_epoch
        else dict(by_epoch=False, max_iters=8, val_interval=4)
    )
    logger = dict(type='LoggerHook', interval=1, log_metric_by_epoch=by_epoch)
    cfg = Config(
        dict(
            work_dir=str(tmp_path / STEM),
            default_scope='mmengine',
            experiment_name=f'toy{by_epoch}',
            model=dict(type='ReproduceToy'),
            train_dataloader=loader,
            val_dataloader=loader,
            train_cfg=length,
            val_cfg=dict(),
            val_evaluator=dict(type='ReproduceMetric'),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
            log_processor=dict(by_epoch=by_epoch),
            default_hooks=dict(checkpoint=None, logger=logger),
        )
    )
    runner = Runner.from_cfg(cfg)
    hook = LookHook(tmp_path)
    runner.register_hook(hook)
    runner.train()
    (run,) = find_runs(tmp_path, STEM, KEY)
    assert (run.finished, run.value, run.progress) == (True, 0.02, '')
    (between,) = hook.seen[-1]
    assert not between.finished and between.value == 0.01
    unit = 'epoch 2/2' if by_epoch else 'iter 8/8'
    assert between.progress.startswith(f'{unit}, eta 0:00:00')
