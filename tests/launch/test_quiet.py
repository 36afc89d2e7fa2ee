"""``--quiet``: what the terminal shows, and the file that holds everything."""

from __future__ import annotations

import io
import logging
import re
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import launch_toy
import pytest
from launcher import run_tool
from mmengine.hooks import Hook
from mmengine.logging import MMLogger, print_log
from mmengine.registry import HOOKS

from agvm_mm.compat import say
from agvm_mm.launch import quiet as module
from agvm_mm.launch.quiet import Quiet, Screen

PARTS = dict(
    type='AGVMOptimWrapper',
    optimizer=dict(type='SGD', lr=0.1),
    agvm=dict(anchor='conv', interval=1, begin=0, apply=False),
)
EVALUATION: dict[str, Any] = dict(
    train_cfg=dict(by_epoch=False, max_iters=6, val_interval=3),
    val_dataloader=launch_toy.config(Path())['train_dataloader'],
    val_cfg=dict(),
    val_evaluator=dict(type='LaunchToyMetric'),
)


@HOOKS.register_module()
class NoisyHook(Hook):
    """Prints, warns and logs as packages do."""

    def before_train(self, runner: Any) -> None:
        print('printed by a package')
        warnings.warn('warned by a package', stacklevel=1)
        print_log('logged by a package', logger='current', level=logging.WARNING)
        runner.logger.error('an error of a package')


@pytest.mark.parametrize('ranks', [pytest.param(1, marks=pytest.mark.slow), 2])
def test_the_terminal_is_short_and_the_file_is_whole(tmp_path: Path, ranks: int) -> None:
    hooks = [dict(type='NoisyHook')]
    imports = dict(imports=['launch_toy', 'launch.test_quiet'], allow_failed_imports=False)
    config = launch_toy.write_config(
        tmp_path, custom_hooks=hooks, custom_imports=imports, optim_wrapper=PARTS, **EVALUATION
    )
    total = 2 * ranks * 2  # two micro-batches
    shown = run_tool('dist_train.sh', config, ranks, '--quiet', '--total-batch-size', total)
    kept = (tmp_path / 'work' / 'output.txt').read_text()
    (log,) = (tmp_path / 'work').glob('*/*.log')
    lines = shown.splitlines()
    # 6 updates of two micro-batches, each once
    made = [line.split()[1] for line in lines if line.startswith('update ')]
    assert made == [f'{i}/6' for i in range(1, 7)]
    assert re.search(r'^update 6/6  loss \d+\.\d{3}  0:\d\d, 0:00 left$', shown, re.MULTILINE)
    images = float(launch_toy.IMAGES)
    scores = [line for line in lines if line.startswith('after update')]
    assert scores == [f'after update {i}: count {images:.3f}' for i in (3, 6)]
    text = f'total batch {total} = {ranks} rank'
    assert lines.count(next(line for line in lines if line.startswith(text))) == 1
    assert len([line for line in lines if line.startswith('AGVM')]) > 0
    # An error of every rank, and nothing else of others.
    assert lines.count('ERROR: an error of a package') == ranks
    assert 'by a package' not in shown and 'Hooks will be' not in shown
    assert 'mmengine - INFO' not in shown and len(lines) < 45
    for text in ('printed', 'warned', 'logged'):
        assert f'{text} by a package' in kept
    assert kept.count('printed by a package') == ranks
    for text in ('Hooks will be executed', 'System environment', 'count: 64.0000'):
        assert text in kept and text in log.read_text()


def test_a_traceback_is_seen(tmp_path: Path) -> None:
    hooks = [dict(type='RaiseOnRank', rank=0)]
    config = launch_toy.write_config(tmp_path, custom_hooks=hooks)
    shown = run_tool('train.py', config, '--quiet', fails=True)
    assert shown.rstrip().endswith('RuntimeError: raised on purpose on rank 0')


def test_a_dry_run_prints_as_without(tmp_path: Path) -> None:
    config = launch_toy.write_config(tmp_path)
    shown = run_tool('train.py', config, '--quiet', '--dry-run')
    assert 'total batch 2 = 1 rank x 2 images x 1 micro-batch' in shown
    assert not (tmp_path / 'work').exists()


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_stays_in_one_line_of_a_terminal() -> None:
    terminal = _Terminal()
    screen = Screen(terminal)
    for i in (1, 2):
        screen.progress(f'update {i}', i, 2)
    screen.say('done')
    assert terminal.getvalue() == '\r\033[Kupdate 1\r\033[Kupdate 2\r\033[Kdone\n'


@pytest.mark.parametrize(
    ('iterations', 'counts', 'lines'),
    [
        (40, 1, [f'{i}/40' for i in range(4, 41, 4)]),
        (12, 4, ['1/3', '2/3', '3/3']),
        (7, 3, ['1/3', '2/3', '3/3']),  # the last update is of one micro-batch
    ],
)
def test_a_file_gets_at_most_ten_lines_and_none_twice(
    iterations: int, counts: int, lines: list[str]
) -> None:
    file = io.StringIO()
    hook = module._ProgressHook(Screen(file))
    loss = SimpleNamespace(get_scalar=lambda _: SimpleNamespace(mean=lambda _: 0.5))
    runner = SimpleNamespace(
        iter=0,
        max_iters=iterations,
        message_hub=loss,
        optim_wrapper=SimpleNamespace(_accumulative_counts=counts),
    )
    hook.before_train(runner)
    for runner.iter in range(iterations):
        hook.after_train_iter(runner, runner.iter)
    assert [line.split()[1] for line in file.getvalue().splitlines()] == lines


def test_main_scores_are_shown_where_there_are_any() -> None:
    terminal = io.StringIO()
    hook = module._ProgressHook(Screen(terminal))
    runner = SimpleNamespace(iter=8, optim_wrapper=SimpleNamespace(_accumulative_counts=4))
    hook.after_val_epoch(runner, {'coco/bbox_mAP': 0.1234, 'coco/bbox_mAP_50': 0.3})
    hook.after_val_epoch(runner, {'accuracy': 0.5})
    hook.after_val_epoch(runner)
    expected = ['coco/bbox_mAP 0.123', 'accuracy 0.500', '']
    assert terminal.getvalue().splitlines() == [f'after update 2: {text}' for text in expected]


@pytest.mark.parametrize('rank', [0, 1])
def test_what_this_package_says_is_shown_on_one_rank(rank: int) -> None:
    terminal = io.StringIO()
    logger = MMLogger.get_instance(f'quiet_{rank}')
    logger.addHandler(module._OwnLines(Screen(terminal), rank))
    say('a sentence of ours')
    print_log('of another package', logger='current')
    logger.error('an error')
    ours = ['a sentence of ours'] if rank == 0 else []
    assert terminal.getvalue().splitlines() == [*ours, 'ERROR: an error']


def test_what_was_printed_before_the_file_is_there_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, 'stdout', terminal := io.StringIO())
    with warnings.catch_warnings():
        try:
            quiet = Quiet()
            print('early')
            quiet.keep_in(str(tmp_path / 'new'))
            print('late')
        finally:
            logging.captureWarnings(False)
            logging.getLogger('py.warnings').handlers.clear()
            logging.getLogger('py.warnings').propagate = True
    assert (tmp_path / 'new' / 'output.txt').read_text() == 'early\nlate\n'
    assert terminal.getvalue() == '' and quiet.terminal is terminal
