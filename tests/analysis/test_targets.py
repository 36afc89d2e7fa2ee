"""Updates to a target, from the courses of several runs."""

from __future__ import annotations

import json
import math
import runpy
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import nn

from agvm_mm.analysis.targets import (
    Course,
    CourseHook,
    summarize,
    to_markdown,
    updates_to_loss,
    updates_to_score,
)


def test_updates_to_a_loss_are_those_of_a_moving_mean() -> None:
    losses = [4.0, 1.0, 3.0, 2.0, 1.0, 1.0]
    assert updates_to_loss(losses, 2.5, 1) == 2
    assert updates_to_loss(losses, 2.0, 3) == 4
    assert updates_to_loss(losses, 0.5, 3) is None
    assert updates_to_loss([math.nan] * 5, 2.0, 3) is None


def test_updates_to_a_score_are_those_of_a_validation() -> None:
    assert updates_to_score([(10, 0.1), (20, 0.3), (30, 0.2)], 0.2) == 20
    assert updates_to_score([(10, 0.1)], 0.2) is None


def test_a_validation_without_a_detection_scores_nothing() -> None:
    course = Course('sgd', 0, losses=[1.0, 1.0])
    CourseHook(course, 'coco/bbox_mAP').after_val_epoch(None, {})
    assert course.scores == [(2, 0.0)]


def test_ratios_are_to_the_first_recipe() -> None:
    def course(recipe: str, seed: int, length: int, seconds: float) -> Course:
        losses = [1.0] * length + [0.0] * 20
        return Course(recipe, seed, losses, [seconds] * len(losses),
                      [2 * seconds] * len(losses), [(length, 0.5)],
                      peak_bytes=100 * length)  # fmt: skip

    courses = [course('sgd', 0, 10, 1.0), course('kfac', 0, 4, 1.5), course('sgd', 1, 14, 1.0),
               course('kfac', 1, 8, 1.5)]  # fmt: skip
    sgd, kfac = summarize(courses, 0.0, 0.5, 1)
    assert (sgd['updates_to_loss'], kfac['updates_to_loss']) == (13.0, 7.0)
    assert kfac['updates_to_loss_ratio'] == pytest.approx(13 / 7)
    assert kfac['updates_to_score_ratio'] == pytest.approx(12 / 6)
    assert (sgd['seconds_ratio'], kfac['seconds_ratio']) == (1.0, 1.5)
    assert (kfac['score'], kfac['peak_bytes'], sgd['peak_bytes']) == (
        {'mean': 0.5, 'sd': 0.0}, 600, 1200)  # fmt: skip
    assert kfac['peak_bytes_ratio'] == 0.5
    last = to_markdown([sgd, kfac]).splitlines()[-1]
    assert last == '| kfac | 7 | 1.86 | 6 | 2.00 | 0.500 ± 0.000 | 1.50 | 1.50 | 0.50 |'
    [missed] = summarize(courses[:1], -1.0, 0.9, 1)
    assert missed['updates_to_loss'] is missed['updates_to_score_ratio'] is None


class Squares(BaseModel):
    """A million bytes of weights; a loss whose tensors are as large."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(250_000))

    def forward(self, inputs: list[torch.Tensor], mode: str = 'loss') -> dict[str, torch.Tensor]:
        return {'loss': ((self.weight * inputs[0]).square()).mean()}


def test_the_hook_writes_losses_seconds_and_the_memory_of_one_iteration(tmp_path: Path) -> None:
    course = Course('squares', 0)
    data = torch.full((6, 250_000), 2.0)
    model = Squares()
    runner = Runner(
        model,
        work_dir=str(tmp_path),
        train_dataloader=dict(
            dataset=data, batch_size=1, sampler=dict(type='DefaultSampler', shuffle=False)
        ),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.0),
                                   accumulative_counts=2),
        default_hooks=dict(logger=None, checkpoint=None),
        custom_hooks=[],
        log_level='ERROR',
    )  # fmt: skip
    runner.register_hook(CourseHook(course, 'score'))
    runner.train()
    assert course.losses == [pytest.approx(4.0)] * 3  # not divided by accumulation
    assert len(course.seconds) == 3 and min(course.seconds) > 0
    assert len(course.cpu_seconds) == 3 and min(course.cpu_seconds) > 0
    assert 2_000_000 <= course.peak_bytes < 6_000_000  # product, square, their gradients


def test_the_tool_does_not_repeat_what_its_file_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The recipes do not exist, so a run that is made after all fails."""
    out = tmp_path / 'out.json'
    runs = [asdict(Course(name, 0, [2.0, 1.0], [1.0] * 2, [1.0] * 2, [(2, 0.5)], 10))
            for name in ('sgd', 'kfac')]  # fmt: skip
    out.write_text(json.dumps({'runs': runs}))
    tool = Path(__file__).parents[2] / 'tools/analysis_tools/updates_to_target.py'
    argv = [str(tool), 'sgd.py', 'kfac.py', '--seeds', '0', '--loss', '1', '--window', '1']
    monkeypatch.setattr('sys.argv', [*argv, '--score', '0.5', '--out', str(out)])
    runpy.run_path(str(tool), run_name='__main__')
    row = '| kfac | 2 | 1.00 | 2 | 1.00 | 0.500 ± 0.000 | 1.00 | 1.00 | 1.00 |'
    assert row in capsys.readouterr().out
    assert json.loads(out.read_text())['runs'][1]['losses'] == [2.0, 1.0]
