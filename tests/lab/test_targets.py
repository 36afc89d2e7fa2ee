"""Updates to a target, from the courses of several runs."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from tool_modules import load_tool
from torch import nn

from agvm_mm.launch.errors import LaunchError
from lab.curves.targets import (
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
        times = [0.0, 2 * seconds] * (len(losses) // 2)  # as of a method that rests in between
        return Course(recipe, seed, losses, times, [2 * t for t in times], [(length, 0.5)],
                      peak_bytes=100 * length)  # fmt: skip

    courses = [course('sgd', 0, 10, 1.0), course('kfac', 0, 4, 1.5), course('sgd', 1, 14, 1.0),
               course('kfac', 1, 8, 1.5)]  # fmt: skip
    sgd, kfac = summarize(courses, 0.0, 0.5, 1)
    assert (sgd['updates_to_loss'], kfac['updates_to_loss']) == (13.0, 7.0)
    # Seed by seed: 11 over 5 and 15 over 9; 10 over 4 and 14 over 8.
    assert kfac['updates_to_loss_ratio']['mean'] == pytest.approx((11 / 5 + 15 / 9) / 2)
    assert kfac['updates_to_loss_ratio']['sd'] == pytest.approx((11 / 5 - 15 / 9) / math.sqrt(2))
    assert kfac['updates_to_score_ratio']['mean'] == pytest.approx((10 / 4 + 14 / 8) / 2)
    assert (sgd['seconds'], kfac['seconds']) == (1.0, 1.5)
    assert sgd['seconds_ratio'] == {'mean': 1.0, 'sd': 0.0}
    assert kfac['seconds_ratio'] == kfac['cpu_seconds_ratio'] == {'mean': 1.5, 'sd': 0.0}
    assert (kfac['score'], kfac['peak_bytes'], sgd['peak_bytes']) == (
        {'mean': 0.5, 'sd': 0.0}, 600, 1200)  # fmt: skip
    assert kfac['peak_bytes_ratio']['mean'] == pytest.approx((4 / 10 + 8 / 14) / 2)
    last = to_markdown([sgd, kfac]).splitlines()[-1]
    assert last == (
        '| kfac | 7 | 1.93 ± 0.38 | 6 | 2.12 ± 0.53 | 0.500 ± 0.000 '
        '| 1.50 ± 0.00 | 1.50 ± 0.00 | 0.49 ± 0.12 |'
    )
    alone = summarize([courses[0], courses[3]], 0.0, 0.5, 1)[1]
    assert alone['updates_to_loss'] == 9.0 and alone['updates_to_loss_ratio'] is None
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


COURSE = ([2.0, 1.0], [1.0] * 2, [1.0] * 2, [(2, 0.5)], 10)


class Tool:
    """lab/updates_to_target.py in this process, with the file of its runs."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.module = load_tool('lab.updates_to_target')
        self.out = folder / 'out.json'
        self._monkeypatch = monkeypatch

    def keep(self, *courses: Course, **content: str) -> None:
        """Write runs as an earlier call would."""
        self.out.write_text(json.dumps({'runs': list(map(asdict, courses)), **content}))

    def __call__(self, *args: Any) -> None:
        target = ('--seeds', 0, '--loss', 1, '--score', 0.5, '--out', self.out)
        argv = ['updates_to_target.py', *args, *target]
        self._monkeypatch.setattr('sys.argv', list(map(str, argv)))
        self.module.main()

    def runs(self) -> dict[str, dict[str, Any]]:
        """The runs in the file, by recipe."""
        return {run['recipe']: run for run in json.loads(self.out.read_text())['runs']}


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tool:
    return Tool(tmp_path, monkeypatch)


def test_the_tool_does_not_repeat_what_its_file_holds(
    tool: Tool, capsys: pytest.CaptureFixture[str]
) -> None:
    """The recipes do not exist, so a run that is made after all fails; nor are settings known."""
    tool.keep(Course('sgd', 0, *COURSE), Course('kfac', 0, *COURSE))
    for run in (runs := json.loads(tool.out.read_text()))['runs']:
        del run['settings']
    tool.out.write_text(json.dumps(runs))
    tool('sgd.py', 'kfac.py', '--window', 1, '--total-batch-size', 8)
    tool('sgd.py', 'kfac.py', '--window', 1, '--figure', tool.out.parent / 'figure')
    assert (tool.out.parent / 'figure.png').stat().st_size > 10_000
    one = '1.00 ± 0.00'
    row = f'| kfac | 2 | {one} | 2 | {one} | 0.500 ± 0.000 | {one} | {one} | {one} |'
    assert row in capsys.readouterr().out
    assert tool.runs()['kfac']['losses'] == [2.0, 1.0]


@pytest.mark.parametrize(
    ('args', 'words'),
    [
        (['a/sgd.py', '--metric', 'mIoU'], 'metric coco/bbox_mAP and not mIoU'),
        (['a/sgd.py', '--total-batch-size', 8], 'total_batch_size as configured and not 8'),
        (['b/sgd.py'], 'config a/sgd.py and not b/sgd.py'),
        (['a/sgd.py', '--cfg-options', 'a.b=2'], r"cfg_options {'a.b': 1} and not {'a.b': 2}"),
        (['a/sgd.py'], r"cfg_options {'a.b': 1} and not as configured"),
    ],
)
def test_runs_of_other_settings_are_refused(tool: Tool, args: list[Any], words: str) -> None:
    made = dict(
        config='a/sgd.py',
        metric='coco/bbox_mAP',
        total_batch_size=None,
        cfg_options={'a.b': 1} if 'cfg_options' in words else None,
    )
    tool.keep(Course('sgd', 0, *COURSE, settings=made))
    tool('a/sgd.py', *(['--cfg-options', 'a.b=1'] if made['cfg_options'] else []))
    assert tool.runs()['sgd']['settings'] == made
    with pytest.raises(LaunchError, match=f'holds sgd, seed 0, made with {words}: give the same'):
        tool(*args)


def test_the_metric_of_a_file_is_that_of_its_runs_without_settings(tool: Tool) -> None:
    tool.keep(Course('sgd', 0, *COURSE), metric='mIoU')
    for run in (runs := json.loads(tool.out.read_text()))['runs']:
        del run['settings']
    tool.out.write_text(json.dumps(runs))
    with pytest.raises(LaunchError, match='made with metric mIoU and not coco/bbox_mAP'):
        tool('sgd.py')


def test_a_new_run_is_kept_with_its_settings(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(config: Path, seed: int, args: Any) -> Course:
        return Course(config.stem, seed, *COURSE, settings=tool.module.made_with(config, args))

    monkeypatch.setattr(tool.module, 'load_config', lambda path: None)
    monkeypatch.setattr(tool.module, 'train', train)
    tool.out = tool.out.parent / 'new' / 'out.json'
    tool('a/sgd.py', '--total-batch-size', 8, '--cfg-options', 'a.b=(1,2)')
    made = dict(
        config='a/sgd.py',
        metric='coco/bbox_mAP',
        total_batch_size=8,
        cfg_options={'a.b': [1, 2]},  # a file knows no tuples
    )
    assert tool.runs()['sgd']['settings'] == made


@pytest.mark.parametrize(
    ('args', 'words'),
    [
        (['a/sgd.py', 'b/sgd.py'], 'a/sgd.py and b/sgd.py have one name'),
        (['sgd.py', '--window', 0], '--window is 0; allowed is a whole number, at least 1'),
        (['sgd.py', 'missing.py'], 'the config missing.py does not exist'),
    ],
)
def test_what_cannot_work_is_refused_before_the_first_run(
    tool: Tool, monkeypatch: pytest.MonkeyPatch, args: list[Any], words: str
) -> None:
    monkeypatch.setattr(tool.module, 'train', lambda *_: pytest.fail('it trains'))
    tool.keep(Course('sgd', 0, *COURSE))
    with pytest.raises(LaunchError, match=words):
        tool(*args)


def test_a_file_of_something_else_is_refused(tool: Tool) -> None:
    tool.out.write_text('{"runs": 3}')
    with pytest.raises(LaunchError, match=r'out.json holds no runs of updates_to_target.py'):
        tool('sgd.py')
