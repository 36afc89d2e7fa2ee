"""The small RTMDet, DINO, Mask2Former and SegFormer train, and a resumed run ends as a whole one.

An update is two micro-batches of two scenes of 64 pixels; the optimizer and its parts are the
recipe's.
"""

from __future__ import annotations

import math
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from ranks import run_ranks
from recipes import ROOT

from agvm_mm.compat import has_compiled_ops
from agvm_mm.launch.runner import TrainOptions, build_runner, load_config, prepare_training
from agvm_mm.parts import KFACPart
from agvm_mm.statistics.partition import partition_parameters

pytestmark = [
    pytest.mark.configs,
    pytest.mark.slow,
    pytest.mark.skipif(not has_compiled_ops(), reason="needs mmcv's compiled operators"),
]

SMALL = sorted(
    path
    for folder in ('rtmdet', 'dino', 'mask2former', 'segformer')
    for path in ROOT.glob(f'configs/{folder}/*_scenes*.py')
)
EPOCHS, UPDATES = 6, 3  # updates of an epoch
KEPT = ('state_dict', 'optimizer', 'param_schedulers')


@pytest.fixture(autouse=True)
def _quick_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """No compilers are asked for their versions, which takes seconds."""
    monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)


def train(rank: int, path: Path, data: Path, work_dir: Path, resume: Path | None) -> dict[str, Any]:
    """The losses, AGVM's curves, the modules, and what the parts say of themselves."""
    os.environ['AGVM_MM_DATA'] = str(data)
    cfg = load_config(str(path), work_dir=str(work_dir))
    cfg.experiment_name = f'{path.stem}_{work_dir.name}'
    cfg.total_batch_size, cfg.train_dataloader.batch_size = 4, 2
    cfg.val_dataloader = cfg.val_evaluator = cfg.val_cfg = None
    cfg.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=EPOCHS)
    cfg.param_scheduler = [dict(type='LinearLR', start_factor=0.1, end=4, by_epoch=False)]
    cfg.default_hooks.checkpoint.interval = EPOCHS // 2
    if cfg.optim_wrapper.agvm is not None:
        cfg.optim_wrapper.agvm.update(begin=0)
    if cfg.optim_wrapper.get('kfac') is not None:
        cfg.optim_wrapper.kfac.update(statistics_interval=2, inverse_interval=6)
    options = TrainOptions(resume=None if resume is None else str(resume))
    runner = build_runner(cfg, prepare_training(cfg, options))
    runner.train()
    scalars = runner.message_hub.log_scalars
    kfac = runner.optim_wrapper.part(KFACPart)
    return dict(
        losses=[float(value) for value in scalars['train/loss'].data[0]],
        curves={
            name: [float(value) for value in history.data[0]]
            for name, history in scalars.items()
            if 'agvm/phi/' in name or 'agvm/scale/' in name
        },
        modules=list(partition_parameters(runner.model).names),
        optimizer=type(runner.optim_wrapper.optimizer).__name__,
        kfac=0 if kfac is None else len(kfac.preconditioner.layers),
    )


def checkpoint(work_dir: Path, epoch: int) -> Path:
    return work_dir / f'epoch_{epoch}.pth'


def test_every_architecture_has_agvm_and_one_has_k_fac_and_one_muon() -> None:
    methods = [path.stem.split('_')[2] for path in SMALL]
    assert sorted(methods) == ['agvm-adamw'] * 5 + ['agvm-kfac-sgd', 'muon']


@pytest.mark.parametrize('path', SMALL, ids=lambda path: path.stem)
def test_the_loss_falls_and_a_resumed_run_ends_as_the_whole_one(
    path: Path, scenes: Path, tmp_path: Path
) -> None:
    from training_runs import differences, import_detection, load

    import_detection()
    whole, rest = tmp_path / 'whole', tmp_path / 'rest'
    (run,) = run_ranks(train, 1, path, scenes, whole, None, timeout=280)
    first, *_, last = epochs(run['losses'])
    assert all(map(math.isfinite, run['losses']))
    assert last < 0.97 * first, run['losses']
    check_parts(path, run)
    half = checkpoint(whole, EPOCHS // 2)
    run_ranks(train, 1, path, scenes, rest, half, timeout=280)
    ended, resumed = (load(checkpoint(folder, EPOCHS)) for folder in (whole, rest))
    for key in KEPT:
        assert differences(ended[key], resumed[key]) == []
    assert differences(ended['state_dict'], load(half)['state_dict']) != []


def epochs(losses: list[float]) -> list[float]:
    """The mean loss of every epoch."""
    length = len(losses) // EPOCHS
    assert length * EPOCHS == len(losses) == 2 * UPDATES * EPOCHS
    ends = range(0, len(losses) + 1, length)
    return [sum(losses[a:b]) / length for a, b in pairwise(ends)]


def check_parts(path: Path, run: dict[str, Any]) -> None:
    """The optimizer and the parts of the name; phi and scales of every module are finite."""
    method = path.stem.split('_')[2]
    named = {'agvm-adamw': 'AdamW', 'agvm-kfac-sgd': 'SGD', 'muon': 'MuonOptimizer'}
    assert run['optimizer'] == named[method]
    assert (run['kfac'] > 0) == ('kfac' in method)
    measured = {name.split('/')[-1] for name in run['curves']}
    assert measured == (set(run['modules']) if method.startswith('agvm-') else set())
    assert all(math.isfinite(value) for curve in run['curves'].values() for value in curve)
    if measured:
        scales = [curve[-1] for name, curve in run['curves'].items() if 'scale/' in name]
        assert any(scale != 1 for scale in scales)
