"""The curriculum's tools: which runs they take as made, and which stage an estimate belongs to."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from launcher import ROOT
from tool_modules import load_tool, parse

from agvm_mm.launch.errors import LaunchError
from lab.trainings.sweep import Training

CONFIG = ROOT / 'tests' / 'curriculum' / 'curriculum_faster_rcnn.py'


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark, whose trainings write a curve and do nothing else."""
    tool = load_tool('lab.curriculum_benchmark')
    tool.made, tool.commands = [], []

    def run_all(trainings: Iterable[Training], jobs: int) -> Iterator[tuple[Training, int]]:
        for training in trainings:
            tool.made.append(training)
            training.work_dir.mkdir(parents=True, exist_ok=True)
            scores = dict.fromkeys((f'coco/bbox_mAP{size}' for size in ('', '_s', '_m')), 0.5)
            entry = dict(seconds=2.0, cpu_seconds=1.0, metrics=scores)
            (training.work_dir / 'curve.jsonl').write_text(json.dumps(entry))
            yield training, 0

    def draw(command: list[str]) -> Any:
        tool.commands.append(command)
        return SimpleNamespace(returncode=0)

    schedule = [dict(end=5, by_epoch=False), dict(end=12)]
    config = SimpleNamespace(custom_hooks=[], param_scheduler=schedule)
    monkeypatch.setattr(tool, 'load_config', lambda path: config)
    monkeypatch.setattr(tool, 'run_all', run_all)
    monkeypatch.setattr(tool.subprocess, 'run', draw)
    monkeypatch.setenv('AGVM_MM_DATA', 'elsewhere')
    return tool


def call(tool: ModuleType, monkeypatch: pytest.MonkeyPatch, out: Path, *args: Any) -> None:
    parse(tool, monkeypatch, 'detection', out, '--seeds', 0, *args)
    tool.main()


def test_a_run_is_made_once_and_kept_with_its_settings(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for _ in range(2):
        call(tool, monkeypatch, tmp_path, '--epochs', 3, '--size', 64)
    ends = {'train_cfg.max_epochs': 3, 'param_scheduler.1.end': 3}
    hooks = {'custom_hooks': [dict(type=tool.CLOCK)]}
    assert [training.cfg_options for training in tool.made] == [{**ends, **hooks}] * 2
    made = dict(epochs=3, train=400, size=64)
    runs = json.loads((tmp_path / 'detection.json').read_text())['runs']
    assert [(run['arm'], run['settings']) for run in runs] == [
        ('baseline', made),
        ('curriculum', made),
    ]
    assert len(tool.commands) == 2  # the generator is asked each time, for other scenes


@pytest.mark.parametrize(
    ('args', 'words'),
    [
        (['--epochs', 4], '--epochs is 4 and the run in .*detection_baseline_0 was made with 3'),
        ([], '--epochs is as configured and the run in .* was made with 3'),
        (['--epochs', 3, '--train', 10], '--train is 10 and .* was made with 400: give the same'),
        (['--epochs', 3, '--size', 96], '--size is 96 and .* was made with 128'),
    ],
)
def test_runs_of_other_settings_are_refused(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, args: list[Any], words: str
) -> None:
    call(tool, monkeypatch, tmp_path, '--epochs', 3)
    with pytest.raises(LaunchError, match=words):
        call(tool, monkeypatch, tmp_path, *args)
    assert len(tool.made) == 2


def test_a_run_that_kept_no_settings_is_taken(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    call(tool, monkeypatch, tmp_path, '--epochs', 3)
    for path in tmp_path.glob('*/done'):
        path.write_text('')
    call(tool, monkeypatch, tmp_path, '--epochs', 4)
    assert len(tool.made) == 2
    runs = json.loads((tmp_path / 'detection.json').read_text())['runs']
    assert [run['settings'] for run in runs] == [{}, {}]


def test_scenes_that_the_generator_refuses_end_the_call(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / 'scenes').mkdir()
    monkeypatch.setattr(tool.subprocess, 'run', lambda command: SimpleNamespace(returncode=1))
    with pytest.raises(SystemExit):
        call(tool, monkeypatch, tmp_path)
    assert tool.made == []


@pytest.mark.parametrize(
    ('args', 'words'),
    [
        (['detection', '--jobs', 0], '--jobs is 0; allowed is a whole number, at least 1'),
        (['detection', '--epochs', 0], '--epochs is 0; allowed is a whole number, at least 1'),
        (['segmentation'], 'elsewhere/camvid does not exist: set AGVM_MM_DATA'),
    ],
)
def test_what_cannot_work_is_refused_before_the_first_run(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, args: list[Any], words: str
) -> None:
    with pytest.raises(LaunchError, match=words):
        tool.check(parse(tool, monkeypatch, args[0], tmp_path, *args[1:]), [])


@pytest.mark.parametrize(
    ('args', 'words'),
    [
        (['--counts', 1], '--counts is 1; allowed is a whole number, at least 2'),
        (['--momentum', 1], r'--momentum is 1.0; allowed is a number in \[0, 1\)'),
        (['--config', 'missing.py'], 'the config missing.py does not exist'),
        (['--config', CONFIG.parents[1] / 'training/tiny_faster_rcnn.py'], 'has no CurriculumHook'),
    ],
)
def test_the_statistics_are_refused_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, args: list[Any], words: str
) -> None:
    tool = load_tool('lab.curriculum_statistics')
    with pytest.raises(LaunchError, match=words):
        tool.read_config(parse(tool, monkeypatch, tmp_path, *args))


@pytest.mark.slow
def test_every_estimate_has_its_stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Three stages of two epochs with six iterations each, two to an update."""
    pytest.importorskip('mmcv._ext', reason='mmdet needs the compiled ops of mmcv')
    import training_runs as runs

    monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)
    monkeypatch.setenv('AGVM_MM_DATA', 'elsewhere')
    tool = load_tool('lab.curriculum_statistics')
    data = runs.draw_scenes(tmp_path / 'data')
    sizes = ('--counts', 2, '--images', 2, '--horizon', 2)
    parse(tool, monkeypatch, tmp_path, '--config', CONFIG, '--data', data, *sizes)
    tool.main()
    result = json.loads((tmp_path / 'estimates.json').read_text())
    assert result['changes'] == [6, 12] and len(result['estimates']) == 18
    assert [row['estimate'] for row in result['errors']] == [6, 12]
    assert len(result['estimates'][0]['numerator']) == len(result['modules']) == 4
