"""What goes wrong with a run does not corrupt it: repaired and resumed, it ends as it would have.

Every comparison is with an uninterrupted run, bit for bit: weights, their moving average, momentum,
schedulers, AGVM's scales, averages and counters.
"""

from __future__ import annotations

import math
import os
import runpy
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from launcher import ROOT, run_tool
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import build_optim_wrapper
from networks import ReplayNet
from ranks import RankError, run_ranks

pytest.importorskip('mmcv._ext', reason='mmdet needs the compiled ops of mmcv')

import faults
import training_runs as runs

from agvm_mm.launch.checkpoint import find_damage

KILL_CONFIG = runs.CONFIG.with_name('kill_faster_rcnn.py')


def _assert_same(work_dir: Path, whole: Path, epoch: int = 4) -> None:
    checkpoint = runs.latest(work_dir)
    assert checkpoint.name == f'epoch_{epoch}.pth'
    a = runs.training_state(runs.load(checkpoint))
    b = runs.training_state(runs.load(whole / checkpoint.name))
    assert runs.differences(a, b) == []
    assert max(module['scale'] for module in a['optimizer']['agvm']['modules'].values()) > 1.05


@pytest.fixture
def stopped(whole: Path, tmp_path: Path) -> Path:
    """Work directory of a run that stopped in its third epoch."""
    work_dir = tmp_path / 'stopped'
    work_dir.mkdir()
    for epoch in (1, 2):
        shutil.copy(whole / f'epoch_{epoch}.pth', work_dir)
    (work_dir / 'last_checkpoint').write_text(str(work_dir / 'epoch_2.pth'))
    return work_dir


@pytest.mark.parametrize('launched', [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_killed_rank_ends_the_run_and_a_restart_repeats_it(
    scenes: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, launched: bool
) -> None:
    """Restarted with the tools, or with what they do in ranks forked from here, which is faster."""
    monkeypatch.setenv('PYTHONPATH', str(Path(__file__).parent))
    launch = ('dist_train.sh', KILL_CONFIG, 2, '--work-dir', tmp_path)
    with monkeypatch.context() as patch:
        patch.setenv(faults.KILL, '1,2,1')
        output = run_tool(*launch, data=scenes, fails=True)
    assert 'SIGKILL' in output
    for pid in [int(path.read_text()) for path in tmp_path.glob('*.pid')]:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert len(list(tmp_path.glob('*.pid'))) == 2
    assert runs.latest(tmp_path).name == 'epoch_2.pth'

    if launched:
        run_tool(*launch, '--resume', data=scenes)
    else:
        runs.train(scenes, tmp_path, config=KILL_CONFIG, resume='auto')
    _assert_same(tmp_path, whole)


@pytest.mark.parametrize(('ranks', 'counts', 'updates'), [(3, 1, 4), (1, 2, 6)])
def test_another_number_of_ranks_keeps_the_scales(
    scenes: Path, whole: Path, tmp_path: Path, ranks: int, counts: int, updates: int
) -> None:
    checkpoint = whole / 'epoch_2.pth'
    saved = runs.agvm_state(runs.load(checkpoint)['optimizer'])
    options = {'optim_wrapper.accumulative_counts': counts}
    found = runs.train(scenes, tmp_path, ranks=ranks, resume=checkpoint, options=options)
    assert saved['update'] == 6 and saved['modules']['neck']['scale'] != 1
    for rank in found:
        assert rank['start'] == saved
        assert all(math.isfinite(step['loss']) for step in rank['steps'])
        last = rank['steps'][-1]
        assert last['update'] == 6 + updates
        estimates = last['modules']['backbone']['estimates']
        assert estimates == saved['modules']['backbone']['estimates'] + updates
        assert last['modules'] == found[0]['steps'][-1]['modules']
        assert runs.differences(rank['weights'], found[0]['weights']) == []


def _refusal(data: Path, work_dir: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What tools/train.py --resume says as it exits."""
    monkeypatch.setenv('AGVM_MM_DATA', str(data))
    monkeypatch.setenv('LOCAL_RANK', '0')
    arguments = ['train.py', runs.CONFIG, '--work-dir', work_dir, '--resume']
    monkeypatch.setattr(sys, 'argv', list(map(str, arguments)))
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(ROOT / 'tools' / 'train.py'), run_name='__main__')
    return str(stop.value.code)


def test_a_truncated_checkpoint_is_refused_and_the_previous_one_named(
    scenes: Path, stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = stopped / 'epoch_2.pth'
    broken.write_bytes(broken.read_bytes()[:100_000])
    sentence = _refusal(scenes, stopped, monkeypatch)
    assert sentence.startswith(f'error: {broken} cannot be resumed from: it is truncated')
    assert sentence.endswith(f'give it as --resume {stopped / "epoch_1.pth"}.')


def test_an_empty_last_checkpoint_is_refused_and_the_latest_named(
    scenes: Path, stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a kill, or a disk that is full, leaves between a checkpoint and its name."""
    pointer = stopped / 'last_checkpoint'
    pointer.write_text('')
    sentence = _refusal(scenes, stopped, monkeypatch)
    assert sentence.startswith(f'error: {pointer} is empty')
    assert sentence.endswith(f'give it as --resume {stopped / "epoch_2.pth"}.')


def test_a_full_disk_leaves_the_checkpoints_before(
    scenes: Path, whole: Path, stopped: Path
) -> None:
    pytest.importorskip('resource', reason='limits of file sizes are those of Unix')
    with pytest.raises(RankError, match='^rank 0 raised(.|\n)*File too large'):
        runs.train(scenes, stopped, resume='auto', hooks=[faults.FullDiskHook(epoch=2)])
    assert (stopped / 'epoch_3.pth').stat().st_size == faults.FILE_LIMIT
    assert find_damage(stopped / 'epoch_3.pth') == 'it is truncated or damaged'
    assert runs.latest(stopped).name == 'epoch_2.pth'

    with pytest.raises(RankError, match=r'epoch_3\.pth cannot.*--resume \S+epoch_2\.pth'):
        runs.train(scenes, stopped, resume=stopped / 'epoch_3.pth')
    runs.train(scenes, stopped, resume='auto')
    _assert_same(stopped, whole)


def _keep(number: int) -> dict[str, int]:
    """Three epochs of one iteration."""
    return {
        'default_hooks.checkpoint.max_keep_ckpts': number,
        'train_cfg.max_epochs': 3,
        'train_dataloader.dataset.indices': 4,
    }


@pytest.mark.slow
@pytest.mark.parametrize(('keep', 'left'), [(1, []), (2, ['epoch_2.pth'])])
def test_of_the_checkpoints_before_mmengine_deletes_the_oldest_first(
    scenes: Path, tmp_path: Path, keep: int, left: list[str]
) -> None:
    """It deletes before it writes: with max_keep_ckpts=1 a full disk leaves none, so keep two."""
    pytest.importorskip('resource', reason='limits of file sizes are those of Unix')
    hooks = [faults.FullDiskHook(epoch=2)]
    with pytest.raises(RankError):
        runs.train(scenes, tmp_path, hooks=hooks, options=_keep(keep))
    assert [p.name for p in sorted(tmp_path.glob('*.pth')) if find_damage(p) is None] == left
    assert runs.latest(tmp_path).name == 'epoch_2.pth'


@pytest.fixture
def broken_image(scenes: Path, tmp_path: Path) -> Path:
    """An image of a copy of the dataset that no longer is one."""
    shutil.copytree(scenes, tmp_path / 'data')
    image = sorted((tmp_path / 'data' / 'scenes' / 'train2017').iterdir())[5]
    image.write_bytes(b'not an image')
    return image


def test_a_corrupt_image_stops_the_run_by_name_and_repaired_it_goes_on(
    scenes: Path, whole: Path, stopped: Path, broken_image: Path
) -> None:
    data = broken_image.parents[2]
    with pytest.raises(RankError) as caught:
        runs.train(data, stopped, resume='auto')
    first, *others = str(caught.value).split(' raised\n')[1:]
    failure = f'failed to load image: {broken_image}'
    assert failure in first and not any(failure in other for other in others)
    assert runs.latest(stopped).name == 'epoch_2.pth'

    shutil.copy(scenes / broken_image.relative_to(data), broken_image)
    runs.train(data, stopped, resume='auto')
    _assert_same(stopped, whole)


@pytest.mark.slow
def test_a_corrupt_image_on_one_rank_ends_all(tmp_path: Path, broken_image: Path) -> None:
    data = broken_image.parents[2]
    output = run_tool(
        'dist_train.sh', runs.CONFIG, 2, '--work-dir', tmp_path / 'run', data=data, fails=True
    )
    assert f'failed to load image: {broken_image}' in output
    assert not list(tmp_path.glob('run/*.pth'))


def test_a_late_rank_changes_nothing(scenes: Path, whole: Path, tmp_path: Path) -> None:
    hooks = [faults.LateRankHook(update=1, seconds=1)]
    found = runs.train(scenes, tmp_path, hooks=hooks, options={'train_cfg.max_epochs': 1})
    for rank in found:
        first, second, _ = (step['time'] for step in rank['steps'])
        assert second - first > 2, 'both ranks must have waited, twice'
    _assert_same(tmp_path, whole, epoch=1)


def _replay(
    rank: int, estimator: str, seconds: float
) -> tuple[torch.Tensor, dict[str, Any], float]:
    sizes = dict(backbone=20, neck=20)
    model = MMDistributedDataParallel(ReplayNet(sizes, torch.zeros(40)), broadcast_buffers=False)
    wrapper = build_optim_wrapper(
        model,
        dict(
            type='AGVMOptimWrapper',
            optimizer=dict(type='SGD', lr=0.1),
            agvm=dict(interval=1, estimator=estimator),
        ),
    )
    wrapper.initialize_count_status(model, 0, 3)
    if seconds > 0 and rank == 1:
        faults.make_late(model, wrapper, 1, seconds)
    start = time.monotonic()
    for step in range(3):
        generator = torch.Generator().manual_seed(4 * step + rank)
        model.train_step(dict(inputs=[1 + torch.randn(40, generator=generator)]), wrapper)
    return model.module.flat(), wrapper.state_dict()['agvm'], time.monotonic() - start


@pytest.mark.parametrize('estimator', ['all_pairs', 'half_split'])
def test_a_late_rank_among_four_changes_nothing(estimator: str) -> None:
    """With half_split the first two ranks meet in a group of their own."""
    runs.import_detection()
    punctual = run_ranks(_replay, 4, estimator, 0)
    for rank in run_ranks(_replay, 4, estimator, 0.5):
        assert rank[2] >= 1
        assert runs.differences(rank[:2], punctual[0][:2]) == []
    assert punctual[0][1]['modules']['neck']['estimates'] == 3
