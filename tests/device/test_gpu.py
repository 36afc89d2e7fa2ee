"""What only a GPU has: streams, NCCL, graphs, its own memory. The same code runs on the CPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from launcher import ROOT
from mmengine.model import MMDistributedDataParallel
from ranks import run_ranks
from torch import Tensor
from training import ADAMW, EVERY_OTHER, SGD, DeviceNet, agvm_state, batch, prepared, weights

pytest.importorskip('mmdet.engine', reason='what every rank would import')
GPU, GPU2 = pytest.mark.gpu, pytest.mark.gpu2
PLACES = pytest.mark.parametrize('place', ['cpu', pytest.param('cuda', marks=GPU)])
ESTIMATORS = pytest.mark.parametrize('estimator', ['all_pairs', 'half_split'])
CONFIG = dict(type='AGVMOptimWrapper', optimizer=SGD, agvm=EVERY_OTHER)


def _ranks(rank: int, place: str, backend: str, counts: int, config: dict[str, Any]) -> Any:
    if place == 'cuda':
        torch.cuda.set_device(rank if backend == 'nccl' else 0)
    options = {**config, 'accumulative_counts': counts}
    model, wrapper = prepared(place, options, wrap=MMDistributedDataParallel)
    for step in range(4 * counts):
        model.train_step(batch(step, rank=rank), wrapper)
    return weights(model), agvm_state(wrapper) if config.get('agvm') else {}


def _start(place: str) -> dict[str, Any]:
    return dict(start='forkserver') if place == 'cuda' else {}


@ESTIMATORS
@pytest.mark.parametrize(
    ('place', 'backend', 'ranks', 'counts'),
    [
        ('cpu', 'gloo', 2, 1),
        pytest.param('cuda', 'nccl', 1, 4, marks=GPU),
        pytest.param('cuda', 'gloo', 2, 1, marks=GPU),
        pytest.param('cuda', 'gloo', 4, 2, marks=GPU),
        pytest.param('cuda', 'nccl', 2, 1, marks=GPU2),
    ],
)
def test_measuring_leaves_the_gradients_of_ddp(
    place: str, backend: str, ranks: int, counts: int, estimator: str
) -> None:
    measuring = dict(CONFIG, agvm=dict(estimator=estimator, apply=False, interval=1))
    plain = dict(type='OptimWrapper', optimizer=SGD)
    (with_agvm, state), *_ = run_ranks(
        _ranks, ranks, place, backend, counts, measuring, backend=backend, **_start(place)
    )
    (without, _), *_ = run_ranks(
        _ranks, ranks, place, backend, counts, plain, backend=backend, **_start(place)
    )
    assert torch.equal(with_agvm, without)
    assert state['modules']['head']['estimates'] == 4


@pytest.mark.parametrize('place', ['cpu', pytest.param('cuda', marks=GPU2)])
def test_kfac_under_nccl_is_that_under_gloo(place: str) -> None:
    kfac = dict(statistics_interval=1, inverse_interval=2, damping=0.1)
    config = dict(type='PartsOptimWrapper', optimizer=SGD, kfac=kfac)
    found = []
    for backend in ('gloo', 'nccl' if place == 'cuda' else 'gloo'):
        options = dict(backend=backend, **_start(place))
        found.append(run_ranks(_ranks, 2, place, backend, 1, config, **options)[0][0])
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_ranks_may_be_started_as_on_a_gpu() -> None:
    """By a server that forks, since a process that has used a GPU must not."""
    arguments = (_ranks, 2, 'cpu', 'gloo', 1, CONFIG)
    forked, served = run_ranks(*arguments), run_ranks(*arguments, start='forkserver')
    torch.testing.assert_close(forked[0][0], served[0][0])


@PLACES
@ESTIMATORS
def test_a_slow_side_stream_before_the_backward_pass_changes_nothing(
    place: str, estimator: str
) -> None:
    found = []
    for slow in (False, True):
        config = dict(CONFIG, agvm=dict(estimator=estimator, interval=1), accumulative_counts=2)
        model, wrapper = prepared(place, config)
        for step in range(8):
            with wrapper.optim_context(model):
                data = model.data_preprocessor(batch(step), True)
                data['inputs'] = _from_side_stream(data['inputs'], place, slow)
                wrapper.update_params(model(**data, mode='loss')['loss'])
        found.append((weights(model), agvm_state(wrapper)))
    assert torch.equal(found[0][0], found[1][0]) and found[0][1] == found[1][1]


def _from_side_stream(images: Tensor, place: str, slow: bool) -> Tensor:
    if place == 'cpu' or not slow:
        return images * 1
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)
        images = images * 1
    torch.cuda.current_stream().wait_stream(stream)
    images.record_stream(torch.cuda.current_stream())
    return images


def _allocated(place: str, peak: bool = False) -> int:
    if place == 'cpu':
        return 0
    return torch.cuda.max_memory_allocated() if peak else torch.cuda.memory_allocated()


@PLACES
def test_memory_stays_flat(place: str) -> None:
    config = dict(
        CONFIG, accumulative_counts=2, kfac=dict(statistics_interval=2, inverse_interval=4),
        clip_grad=dict(type='agc'),
    )  # fmt: skip
    model, wrapper = prepared(place, config)
    for step in range(100):
        if step == 20:
            before = _allocated(place)
        model.train_step(batch(step), wrapper)
    assert _allocated(place) <= before + 2**16
    assert wrapper.updates == 50


@PLACES
def test_an_estimate_takes_less_than_a_mebibyte(place: str) -> None:
    peaks = []
    for agvm in (None, dict(interval=1)):
        net = DeviceNet()
        net.head = torch.nn.Sequential(torch.nn.Linear(6, 4096), torch.nn.Linear(4096, 4))
        model, wrapper = prepared(place, dict(CONFIG, agvm=agvm, accumulative_counts=2), net=net)
        for step in range(8):
            if step == 4 and place == 'cuda':
                torch.cuda.reset_peak_memory_stats()
            model.train_step(batch(step), wrapper)
        peaks.append(_allocated(place, peak=True))
        del model, wrapper, net
    assert peaks[1] - peaks[0] < 2**20


@pytest.mark.parametrize('mode', ['default', 'reduce-overhead'])
@pytest.mark.parametrize(
    'place', [pytest.param('cpu', marks=pytest.mark.slow), pytest.param('cuda', marks=GPU)]
)
def test_compiled(place: str, mode: str) -> None:
    found = []
    for compiled in (False, True):
        model, wrapper = prepared(place, dict(CONFIG, optimizer=ADAMW, accumulative_counts=2))
        if compiled:
            model.forward = torch.compile(model.forward, mode=mode)
        for step in range(8):
            model.train_step(batch(step), wrapper)
        found.append(weights(model))
        assert agvm_state(wrapper)['modules']['head']['estimates'] == 2
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    'place', [pytest.param('cpu', marks=pytest.mark.slow), pytest.param('cuda', marks=GPU)]
)
def test_a_detector_is_launched_resumed_and_tested(
    place: str, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('AGVM_MM_DATA', str(scenes))
    config = str(ROOT / 'configs/faster_rcnn/faster-rcnn_r18_fpn_agvm-sgd_2xb4-10e_scenes.py')
    amp = ['--amp'] if place == 'cuda' else []
    options = ['train_dataloader.batch_size=2', 'train_dataloader.num_workers=0']
    total = ['--total-batch-size', '4']
    for more in (['train_cfg.max_epochs=1'], ['train_cfg.max_epochs=2']):
        resume = ['--resume'] if 'max_epochs=2' in more[0] else []
        _tool('train.py', config, *amp, *total, *resume, '--cfg-options', *options, *more,
              f'work_dir={tmp_path}')  # fmt: skip
    _tool('test.py', config, str(tmp_path / 'epoch_2.pth'), '--work-dir', str(tmp_path / 'test'))


def _tool(name: str, *arguments: str) -> None:
    command = [sys.executable, str(ROOT / 'tools' / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
