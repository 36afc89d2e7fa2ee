"""The scripts in tools/, run as a user runs them."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import launch_toy
import pytest
import torch
from listening import reserved_port

from agvm_mm.launch.machine import VARIABLES

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / 'tools'
SCHEDULE = [dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=4)]
EVALUATION: dict[str, Any] = dict(
    test_dataloader=launch_toy.config(Path())['train_dataloader'],
    test_cfg=dict(),
    test_evaluator=dict(type='LaunchToyMetric'),
)


def environment(**variables: str) -> dict[str, str]:
    """Without what the tests' own settings or an outer launcher would give away."""
    hidden = {name for names in VARIABLES.values() for name in names}
    hidden |= {'GLOO_SOCKET_IFNAME', 'MASTER_ADDR', 'MASTER_PORT', 'PORT', 'NNODES', 'NODE_RANK'}
    rest = {name: value for name, value in os.environ.items() if name not in hidden}
    paths = [str(ROOT / 'tests'), rest.get('PYTHONPATH', '')]
    path = os.pathsep.join(filter(None, paths))
    return {**rest, 'PYTHON': sys.executable, 'PYTHONPATH': path, **variables}


def start(script: str, *args: object, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(TOOLS / script), *map(str, args)],
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    try:
        output, _ = process.communicate(timeout=240)
    finally:
        process.kill()
    return process.returncode, output


def run(script: str, *args: object, **variables: str) -> tuple[int, str]:
    return finish(start(script, *args, **variables))


def run_here(tool: str, *args: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a Python tool in this process."""
    monkeypatch.setenv('LOCAL_RANK', '0')
    monkeypatch.setattr(sys, 'argv', [tool, *map(str, args)])
    runpy.run_path(str(TOOLS / tool), run_name='__main__')


def test_two_launches_at_once_train_on_cpu_ranks(tmp_path: Path) -> None:
    config = launch_toy.write_config(
        tmp_path,
        model=dict(type='LaunchToyModel', norm_cfg=dict(type='SyncBN')),
        param_scheduler=SCHEDULE,
    )
    launches = [
        start('dist_train.sh', config, 2, '--total-batch-size', 8, '--work-dir', tmp_path / name)
        for name in ('a', 'b')
    ]
    for process, name in zip(launches, ('a', 'b')):
        code, output = finish(process)
        assert code == 0, output
        assert len(re.findall('total batch 8 = 2 ranks x 2 images x 2 micro-batches', output)) == 1
        assert len(re.findall('SyncBN, which needs one, becomes BN', output)) == 1
        first, second = (launch_toy.recorded(tmp_path / name, rank) for rank in (0, 1))
        assert first == second
        rates = [update['lr'] for update in first]
        assert rates == pytest.approx([0.01, 0.04, 0.07, 0.1, 0.1, 0.1])


@pytest.mark.skipif(not Path('/proc/net/tcp6').is_file(), reason='reads the tables of Linux')
@pytest.mark.parametrize('port', [False, pytest.param(True, marks=pytest.mark.slow)])
def test_ranks_of_one_machine_listen_on_the_loopback_alone(tmp_path: Path, port: bool) -> None:
    config = launch_toy.write_config(tmp_path, custom_hooks=[dict(type='RecordListening')])
    variables = {'PORT': str(reserved_port())} if port else {}
    code, output = run('dist_train.sh', config, 2, **variables)
    assert code == 0, output
    for rank in (0, 1):
        own, agent = json.loads((tmp_path / 'work' / f'listening_{rank}.json').read_text())
        assert len(own) > 0 and len(agent) > 0
        assert {*own, *agent} == {'127.0.0.1'}


def test_an_error_on_one_rank_is_the_exit_code(tmp_path: Path) -> None:
    config = launch_toy.write_config(tmp_path, custom_hooks=[dict(type='RaiseOnRank', rank=1)])
    code, output = run('dist_train.sh', config, 2)
    assert code != 0
    assert 'raised on purpose on rank 1' in output


def test_a_checkpoint_is_tested_on_cpu_ranks(tmp_path: Path) -> None:
    config = launch_toy.write_config(tmp_path, **EVALUATION)
    checkpoint = tmp_path / 'weights.pth'
    torch.save(dict(state_dict=launch_toy.LaunchToyModel().state_dict()), checkpoint)
    code, output = run('dist_test.sh', config, checkpoint, 2, '--out', tmp_path / 'out.pkl')
    assert code == 0, output
    assert f'count: {launch_toy.IMAGES:.4f}' in output
    assert (tmp_path / 'out.pkl').is_file()


@pytest.mark.skipif(not Path('/proc/self/task').is_dir(), reason="reads Linux's list of threads")
@pytest.mark.parametrize('tool', ['train.py', 'test.py'])
def test_no_thread_of_a_group_outlives_it(tmp_path: Path, tool: str) -> None:
    """One that frees a message after the end of the interpreter aborts the process."""
    config = launch_toy.write_config(tmp_path, **EVALUATION)
    checkpoint = tmp_path / 'weights.pth'
    torch.save(dict(state_dict=launch_toy.LaunchToyModel().state_dict()), checkpoint)
    arguments = [str(config), *([str(checkpoint)] if tool == 'test.py' else [])]
    code = f"""
import os, runpy, sys
import torch.distributed as dist
threads = lambda: len(os.listdir('/proc/self/task'))
end = dist.destroy_process_group
def destroy(*args):
    print('before:', threads())
    end(*args)
    print('after:', threads())
dist.destroy_process_group = destroy
sys.argv = [{tool!r}, *{arguments!r}, '--launcher', 'pytorch']
runpy.run_path({str(TOOLS / tool)!r}, run_name='__main__')
"""
    ranks = dict(RANK='0', WORLD_SIZE='1', LOCAL_RANK='0', MASTER_ADDR='127.0.0.1')
    done = subprocess.run(
        [sys.executable, '-c', code],
        env=environment(**ranks, MASTER_PORT=str(reserved_port()), OMP_NUM_THREADS='1'),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    before, after = (
        int(re.search(rf'{word}: (\d+)', done.stdout)[1]) for word in ('before', 'after')
    )
    assert before > after == 1


@pytest.mark.slow
def test_a_truncated_checkpoint_stops_every_rank(tmp_path: Path) -> None:
    config = launch_toy.write_config(tmp_path)
    checkpoint = tmp_path / 'iter_3.pth'
    torch.save(dict(state_dict=dict(weight=torch.zeros(1000))), checkpoint)
    checkpoint.write_bytes(checkpoint.read_bytes()[:2000])
    code, output = run('dist_train.sh', config, 2, '--resume', checkpoint)
    assert code != 0
    assert f'error: {checkpoint} cannot be resumed from: it is truncated' in output
    assert 'train.py", line' not in output
    assert not (tmp_path / 'work').exists()


@pytest.mark.slow
@pytest.mark.parametrize('runner', ['Runner', 'FlexibleRunner'])
def test_resumes_on_cpu_ranks(tmp_path: Path, runner: str) -> None:
    entries: dict[str, Any] = dict(param_scheduler=SCHEDULE, total_batch_size=8)
    if runner != 'Runner':
        entries['runner_type'] = runner
    config = launch_toy.write_config(tmp_path, **entries)
    code, output = run('dist_train.sh', config, 2)
    assert code == 0, output
    straight = launch_toy.recorded(tmp_path / 'work')
    # Three updates of two micro-batches on two ranks; from there on in one process, with four.
    arguments = ['--resume', tmp_path / 'work' / 'iter_6.pth', '--work-dir', tmp_path / 'resumed']
    alone = environment()
    alone['PYTHONPATH'] += f'{os.pathsep}{ROOT}'
    done = subprocess.run(
        [sys.executable, str(TOOLS / 'train.py'), str(config), *map(str, arguments)],
        env=alone,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    resumed = launch_toy.recorded(tmp_path / 'resumed')
    assert [update['lr'] for update in resumed] == [update['lr'] for update in straight[3:]]


@pytest.mark.slow
def test_a_segmenter_trains_on_cpu_ranks(tmp_path: Path) -> None:
    pytest.importorskip('mmseg')
    image = dict(type='LaunchToySegmentation')
    norm = dict(type='SyncBN', requires_grad=True)
    model = dict(
        type='EncoderDecoder',
        data_preprocessor=dict(type='SegDataPreProcessor', size=(32, 32)),
        backbone=dict(
            type='ResNetV1c', depth=18, norm_cfg=norm, strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4)
        ),
        decode_head=dict(
            type='FCNHead',
            in_channels=512,
            channels=8,
            num_classes=2,
            norm_cfg=norm,
            num_convs=1,
            loss_decode=dict(type='CrossEntropyLoss'),
        ),
        train_cfg=dict(),
        test_cfg=dict(mode='whole'),
    )
    loader = dict(
        batch_size=1,
        num_workers=0,
        sampler=dict(type='InfiniteSampler'),
        dataset=image,
        collate_fn=dict(type='pseudo_collate'),
    )
    config = launch_toy.write_config(
        tmp_path,
        default_scope='mmseg',
        model=model,
        train_dataloader=loader,
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=2),
        total_batch_size=4,
    )
    code, output = run('dist_train.sh', config, 2)
    assert code == 0, output
    first, second = (launch_toy.recorded(tmp_path / 'work', rank) for rank in (0, 1))
    assert len(first) == 2
    assert first == second


@pytest.mark.usefixtures('quick_start')
def test_one_process_trains_and_tests_without_a_launcher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = launch_toy.write_config(tmp_path, **EVALUATION)
    run_here(
        'train.py',
        config,
        '--seed',
        7,
        '--resume',
        '--cfg-options',
        'train_cfg.max_iters=2',
        monkeypatch=monkeypatch,
    )
    assert len(launch_toy.recorded(tmp_path / 'work')) == 2
    written = (tmp_path / 'work' / 'toy.py').read_text()
    assert 'randomness = dict(seed=7)' in written
    (log,) = (tmp_path / 'work').glob('*/*.log')
    assert 'training from scratch' in log.read_text()
    # The config that was written has resume=True, which testing plain weights must not heed.
    checkpoint = tmp_path / 'weights.pth'
    torch.save(dict(state_dict=launch_toy.LaunchToyModel().state_dict()), checkpoint)
    run_here('test.py', tmp_path / 'work' / 'toy.py', checkpoint, monkeypatch=monkeypatch)
    logs = [log.read_text() for log in (tmp_path / 'work').glob('*/*.log')]
    assert any('count: 64.0000' in log for log in logs)


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (['missing.py'], 'the config missing.py does not exist'),
        (['{orphan}'], 'orphan.py names is missing: '),
        (['{config}', '--total-batch-size', '7'], 'total_batch_size=7 is no multiple of 1 rank x'),
        (['{config}', '--auto-scale-lr'], 'needs auto_scale_lr.base_batch_size'),
        (['{config}', '--resume', 'missing.pth'], 'missing.pth cannot be resumed from'),
        (['{config}', '--launcher', 'pytorch'], 'WORLD_SIZE is not in the environment'),
    ],
)
def test_a_launch_that_cannot_work_ends_with_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], sentence: str
) -> None:
    monkeypatch.delenv('WORLD_SIZE', raising=False)
    config = launch_toy.write_config(tmp_path)
    orphan = tmp_path / 'orphan.py'
    orphan.write_text("_base_ = './missing.py'\n")
    filled = [argument.format(config=config, orphan=orphan) for argument in arguments]
    with pytest.raises(SystemExit) as stop:
        run_here('train.py', *filled, monkeypatch=monkeypatch)
    message = str(stop.value.code)
    assert message.startswith('error: ')
    assert sentence in message
    assert '\n' not in message
    assert not (tmp_path / 'work').exists()


def test_one_node_meets_on_a_free_port_of_the_loopback() -> None:
    code, command = run('dist_train.sh', 'c.py', 2, '--amp', PYTHON='echo')
    assert code == 0
    assert 'torchrun_loopback.py' in command
    assert '--rdzv_endpoint=127.0.0.1:0' in command
    assert '--local_addr=127.0.0.1' in command
    assert '--nproc_per_node=2' in command
    assert command.strip().endswith('train.py c.py --launcher pytorch --amp')


def test_a_given_port_is_taken() -> None:
    command = run('dist_test.sh', 'c.py', 'a.pth', 2, PYTHON='echo', PORT='4711')[1]
    assert '--master_addr=127.0.0.1 --master_port=4711' in command
    assert command.strip().endswith('test.py c.py a.pth --launcher pytorch')


def test_several_nodes_meet_at_the_first() -> None:
    nodes = dict(NNODES='2', NODE_RANK='1', MASTER_ADDR='node0')
    command = run('dist_train.sh', 'c.py', 8, PYTHON='echo', **nodes)[1]
    assert '-m torch.distributed.run' in command
    assert '--nnodes=2 --node_rank=1 --master_addr=node0 --master_port=29500' in command
    code, output = run('dist_train.sh', 'c.py', 8, PYTHON='echo', NNODES='2', NODE_RANK='0')
    assert code == 2
    assert 'needs MASTER_ADDR' in output


@pytest.mark.parametrize(
    ('script', 'arguments'),
    [
        ('dist_train.sh', ['c.py']),
        ('dist_test.sh', ['c.py', '2']),
        ('slurm_train.sh', ['p', 'j', 'c']),
    ],
)
def test_a_missing_argument_prints_the_usage(script: str, arguments: list[str]) -> None:
    code, output = run(script, *arguments, PYTHON='echo')
    assert code == 2
    assert output.startswith('usage:')


def test_slurm(tmp_path: Path) -> None:
    srun = tmp_path / 'srun'
    srun.write_text('#!/bin/sh\nfor argument; do echo "[$argument]"; done\nexit 5\n')
    srun.chmod(0o755)
    code, output = run(
        'slurm_train.sh',
        'gpu',
        'job',
        'c.py',
        'my dir',
        '--cfg-options',
        'a="b c"',
        PATH=f'{tmp_path}{os.pathsep}{os.environ["PATH"]}',
        GPUS='4',
        SRUN_ARGS='--quiet --mem=1G',
    )
    assert code == 5
    for argument in (
        '--partition=gpu',
        '--job-name=job',
        '--ntasks=4',
        '--ntasks-per-node=4',
        '--gres=gpu:4',
        '--cpus-per-task=5',
        '--kill-on-bad-exit=1',
        '--quiet',
        '--mem=1G',
        'c.py',
        '--work-dir=my dir',
        '--launcher=slurm',
        'a="b c"',
    ):
        assert f'[{argument}]' in output
