"""lab/miniature.py: what it refuses, plans and keeps, with trainings that are only pretended."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from tool_modules import load_tool, parse

from agvm_mm.launch.errors import LaunchError
from agvm_mm.launch.runner import TrainOptions, load_config, prepare_training
from lab.trainings.sweep import Training

SGD = 'faster-rcnn_r18_fpn_sgd_2xb8-256it_scenes'
AGVM = 'faster-rcnn_r18_fpn_agvm-sgd_16xb8-32it_scenes'
RECIPE = """
default_scope = 'mmengine'
load_from = '{start}'
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.04))
"""
SCORES = {'coco/bbox_mAP': 0.25, 'step': 4}


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.setenv('AGVM_MM_DATA', str(tmp_path / 'data'))
    return load_tool('lab.miniature')


@pytest.fixture
def recipes(tool: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Two recipes that start from one file."""
    folder = tmp_path / 'configs' / 'miniature'
    folder.mkdir(parents=True)
    for name in (SGD, AGVM):
        start = tmp_path / 'data/miniature/start/faster-rcnn_r18_fpn_scenes.pth'
        (folder / f'{name}.py').write_text(RECIPE.format(start=start))
    monkeypatch.setattr(tool, 'ROOT', tmp_path)
    monkeypatch.setattr(tool, 'FOLDER', folder)
    (tmp_path / 'data/miniature').mkdir(parents=True)
    return folder


def command(tool: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *args: Any) -> Any:
    places = ('--results', tmp_path / 'results', '--work-root', tmp_path / 'work')
    return parse(tool, monkeypatch, *args, *places, '--workers', 2)


def pretend(
    monkeypatch: pytest.MonkeyPatch, tool: ModuleType, run: Callable[[Training], int]
) -> list[Training]:
    """Let ``run`` make the trainings; those that it was asked for."""
    made: list[Training] = []

    def run_all(trainings: Iterable[Training], workers: int) -> Iterator[tuple[Training, int]]:
        for training in trainings:
            made.append(training)
            training.work_dir.mkdir(parents=True)
            yield training, run(training)

    monkeypatch.setattr(tool, 'run_all', run_all)
    return made


def log(training: Training) -> int:
    """What a run leaves behind: a config, a line of training and one of evaluation."""
    folder = training.work_dir / 'now' / 'vis_data'
    folder.mkdir(parents=True)
    rate = training.cfg_options.get('optim_wrapper.optimizer.lr', 0.04)
    (folder / 'config.py').write_text(f'optim_wrapper = dict(optimizer=dict(lr={rate}))\n')
    lines = [{'lr': rate, 'loss': 1.5, 'iter': 4, 'step': 4}, SCORES]
    (folder / 'scalars.json').write_text('\n'.join(map(json.dumps, lines)))
    return 0


@pytest.mark.parametrize(
    ('args', 'words'),
    [
        (['--tune', 0], '--tune is 0; allowed is a whole number, at least 2'),
        (['--tune', 1], '--tune is 1; allowed is a whole number, at least 2'),
        (['--workers', 0], '--workers is 0; allowed is a whole number, at least 1'),
        (['--scale-rule', 'sqrt'], '--total-batch-size and --scale-rule need each other'),
        (['--total-batch-size', 64], '--total-batch-size and --scale-rule need each other'),
        (['--total-batch-size', 64, '--scale-rule', 'sqrt', '--tune', 4], 'exclude --tune'),
        (['--total-batch-size', 0, '--scale-rule', 'sqrt'], '--total-batch-size is 0; allowed is'),
        (['--cfg-options', 'a=1'], 'name another folder with --results'),
        (['--recipes', '*_scenes', 'typo'], "--recipes holds 'typo', which fits no name in"),
        (['--recipes', '*_bccd'], 'data/bccd, which does not exist: fetch it as docs/recipes.md'),
        (['--recipes', '*_camvid'], 'data/camvid, which does not exist: fetch it as'),
    ],
)
def test_what_cannot_work_is_refused_before_anything_starts(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, args: list[Any], words: str
) -> None:
    for name in ('draw_scenes', 'train_starts', 'plan'):
        monkeypatch.setattr(tool, name, lambda *_: pytest.fail('something was started'))
    parse(tool, monkeypatch, *args)
    with pytest.raises(LaunchError) as refusal:
        tool.main()
    assert words in str(refusal.value) and '\n' not in str(refusal.value)


def test_fetched_data_and_scenes_pass(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in tool.FETCHED:
        (tmp_path / 'data' / name).mkdir(parents=True)
    tool.check(parse(tool, monkeypatch))


def test_the_generator_is_always_asked_and_may_refuse(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / 'data/miniature/annotations').mkdir(parents=True)
    called: list[Any] = []

    def run(command: list[Any], **_: Any) -> Any:
        called.append(command)
        return SimpleNamespace(returncode=len(called) - 1)

    monkeypatch.setattr(tool.subprocess, 'run', run)
    tool.draw_scenes()
    assert str(tmp_path / 'data/miniature') in called[0] and '1024' in called[0]
    with pytest.raises(SystemExit) as refusal:
        tool.draw_scenes()
    assert refusal.value.code == 1


def test_the_plan_has_what_no_result_is_there_of(
    tool: ModuleType, recipes: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    args = command(tool, monkeypatch, tmp_path, '--seeds', 0, 3)
    (tmp_path / 'results').mkdir()
    (tmp_path / 'results' / f'{SGD}_seed3.json').write_text('{}')
    todo = {path.stem: training for training, path in tool.plan(args).items()}
    assert set(todo) == {f'{SGD}_seed0', f'{AGVM}_seed0', f'{AGVM}_seed3'}
    assert todo[f'{AGVM}_seed3'].seed == 3
    assert todo[f'{AGVM}_seed3'].config == recipes / f'{AGVM}.py'


def test_the_search_goes_on_from_the_results(
    tool: ModuleType, recipes: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """0.04 and half of it first, then beyond the better one until it lies between two."""
    args = command(tool, monkeypatch, tmp_path, '--recipes', SGD, '--tune', 5)
    best = {0.02: 0.1, 0.04: 0.2, 0.08: 0.15}
    made: list[float] = []
    while todo := tool.plan(args):
        for training, path in todo.items():
            rate = training.cfg_options[tool.RATE]
            assert training.seed == tool.TUNING_SEED and path.parent.name == 'tuning'
            scores = {'coco/bbox_mAP': best[rate]}
            tool.write_result(path, {'cfg_options': training.cfg_options, 'scores': scores})
            made.append(rate)
    assert sorted(made) == [0.02, 0.04, 0.08]


def test_the_common_weights_are_trained_once_and_from_random_ones(
    tool: ModuleType, recipes: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def save(training: Training) -> int:
        (training.work_dir / 'iter_256.pth').write_text('weights')
        return 0

    made = pretend(monkeypatch, tool, save)
    args = command(tool, monkeypatch, tmp_path)
    tool.train_starts(args)
    tool.train_starts(args)
    [training] = made
    assert training.config.stem == SGD and training.seed == tool.START_SEED
    assert training.cfg_options == {'load_from': None}
    start = tmp_path / 'data/miniature/start/faster-rcnn_r18_fpn_scenes.pth'
    assert start.read_text() == 'weights' and not training.work_dir.exists()


def test_results_are_kept_and_failures_counted(
    tool: ModuleType, recipes: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pretend(monkeypatch, tool, lambda training: log(training) or int(training.seed == 1))
    args = command(tool, monkeypatch, tmp_path, '--recipes', SGD, '--seeds', 0, 1)
    todo = tool.plan(args)
    assert tool.train(todo, args.workers) == 1
    assert [path.name for path in (tmp_path / 'results').iterdir()] == [f'{SGD}_seed0.json']
    result = json.loads((tmp_path / 'results' / f'{SGD}_seed0.json').read_text())
    assert result['config'] == f'configs/miniature/{SGD}.py'
    assert (result['seed'], result['lr']) == (0, 0.04)
    assert result['scores'] == {'coco/bbox_mAP': 0.25} and result['loss'] == [[4, 1.5]]
    kept = [training.work_dir.exists() for training in todo]
    assert kept == [False, True]  # the output of the one that failed is to be read


def test_options_change_every_run(
    tool: ModuleType, recipes: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = ['--recipes', SGD, '--cfg-options', 'optim_wrapper.optimizer.momentum=0.5']
    for more in ([], ['--tune', 2]):
        todo = tool.plan(command(tool, monkeypatch, tmp_path, *given, *more))
        momenta = [one.cfg_options['optim_wrapper.optimizer.momentum'] for one in todo]
        assert momenta == [0.5] * len(todo) and todo
        assert all((tool.RATE in one.cfg_options) == bool(more) for one in todo)


@pytest.mark.parametrize('rule', ['linear', 'sqrt'])
@pytest.mark.parametrize(('batch', 'length'), [(64, '8xb8-64it'), (128, '16xb8-32it')])
def test_a_rule_makes_the_recipe_of_another_batch(
    tool: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    rule: str,
    batch: int,
    length: str,
) -> None:
    """Rate, lengths and warm-up are those of the leaf that was written by hand."""
    given = ['--total-batch-size', batch, '--scale-rule', rule, '--recipes', SGD, '--seeds', 0]
    [(training, path)] = tool.plan(command(tool, monkeypatch, tmp_path, *given)).items()
    assert path == tmp_path / 'results' / f'{SGD}_{rule}_{batch}_seed0.json'
    no_weights = {'load_from': None}
    cfg = load_config(str(training.config), cfg_options=training.cfg_options | no_weights)
    leaf = load_config(
        str(training.config.with_name(f'faster-rcnn_r18_fpn_sgd-{rule}_{length}_scenes.py')),
        cfg_options=no_weights,
    )
    for one in (cfg, leaf):
        prepare_training(one, TrainOptions(seed=0, dry_run=True))
    rate = 0.04 * (batch / 16) ** {'linear': 1, 'sqrt': 0.5}[rule]
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(rate)
    assert leaf.optim_wrapper.optimizer.lr == pytest.approx(rate, rel=5e-3)
    for key in ('param_scheduler', 'train_cfg', 'total_batch_size', 'default_hooks'):
        assert cfg[key] == leaf[key], key
    passes = [one.optim_wrapper.accumulative_counts for one in (cfg, leaf)]
    assert passes == [batch // 8] * 2
