"""Trainings in forked ranks: what tools/train.py does, with everything imported already."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from launcher import run_tool
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from ranks import run_ranks

from agvm_mm.launch.runner import TrainOptions, build_runner, load_config, prepare_training

CONFIG = Path(__file__).with_name('training') / 'tiny_faster_rcnn.py'


def import_detection() -> None:
    """Import in this process what every rank needs, before ranks are forked from it."""
    import mmdet.datasets
    import mmdet.engine
    import mmdet.models
    import mmdet.visualization  # noqa: F401
    import torch._dynamo  # noqa: F401  for DistributedDataParallel


def draw_scenes(folder: Path) -> Path:
    """12 training and 4 validation scenes of 64 pixels; the folder, for AGVM_MM_DATA."""
    sizes = ['--train', '12', '--val', '4', '--size', '64', '64', '--empty', '0']
    run_tool('dataset_converters/generate_scenes.py', folder / 'scenes', *sizes)
    return folder


def train(
    data: Path,
    work_dir: Path,
    *,
    ranks: int = 2,
    resume: Path | str | None = None,
    hooks: Sequence[Hook] = (),
    config: Path = CONFIG,
    options: dict[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Train on ``ranks`` ranks and return what each saw, see :class:`Watch`.

    Args:
        data: folder for AGVM_MM_DATA.
        work_dir: of the run.
        ranks: processes, 1 for a run without a launcher.
        resume: as ``--resume`` of tools/train.py, 'auto' for the flag alone.
        hooks: registered beside those of the config.
        config: what to train.
        options: as ``--cfg-options``.
    """
    import_detection()
    # A checkpoint holds the config as text; laying that out would take most of the run.
    cfg = Config(_load(config, data).to_dict(), filename=config, format_python_code=False)
    cfg.launcher = 'pytorch' if ranks > 1 else 'none'
    cfg.work_dir = str(work_dir)
    cfg.val_dataloader = cfg.val_evaluator = cfg.val_cfg = None
    cfg.merge_from_dict(options or {})
    resume = None if resume is None else str(resume)
    return run_ranks(_train, ranks, cfg, TrainOptions(resume=resume), hooks)


@functools.lru_cache
def _load(config: Path, data: Path) -> Config:
    before = os.environ.get('AGVM_MM_DATA')
    os.environ['AGVM_MM_DATA'] = str(data)
    try:
        return load_config(str(config))
    finally:
        del os.environ['AGVM_MM_DATA']
        if before is not None:
            os.environ['AGVM_MM_DATA'] = before


def _train(rank: int, cfg: Config, options: TrainOptions, hooks: Sequence[Hook]) -> dict[str, Any]:
    watch = Watch()
    runner = build_runner(cfg, prepare_training(cfg, options))
    for hook in (*hooks, watch):
        runner.register_hook(hook)
    runner.train()
    return vars(watch) | dict(weights=[p.detach() for p in runner.model.parameters()])


def agvm_state(saved: dict[str, Any]) -> dict[str, Any]:
    """AGVM's part of a wrapper's state, with the number of updates made."""
    return {**saved['agvm'], 'update': saved['updates']}


class Watch(Hook):
    """Looks on.

    Attributes:
        start: AGVM's state before the first iteration.
        steps: of every iteration, AGVM's state, the loss, the objects in this rank's images and
            the time at its end in seconds.
    """

    def __init__(self) -> None:
        self.start: dict[str, Any] = {}
        self.steps: list[dict[str, Any]] = []

    def before_train(self, runner: Runner) -> None:
        self.start = agvm_state(runner.optim_wrapper.state_dict())

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        objects = sum(len(sample.gt_instances) for sample in data_batch['data_samples'])
        loss = float(outputs['loss'].detach())
        self.steps.append(
            dict(
                agvm_state(runner.optim_wrapper.state_dict()),
                loss=loss,
                objects=objects,
                time=time.monotonic(),
            )
        )


def load(path: Path) -> dict[str, Any]:
    """A checkpoint."""
    return torch.load(path, weights_only=False)


def latest(work_dir: Path) -> Path:
    """The checkpoint that ``--resume`` takes."""
    return Path((work_dir / 'last_checkpoint').read_text())


def training_state(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """The part of a checkpoint that training goes on from."""
    return {
        key: checkpoint[key]
        for key in ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers')
    }


def differences(a: Any, b: Any, path: str = '') -> list[str]:
    """Where two nested checkpoints differ in as much as a bit."""
    if isinstance(a, torch.Tensor):
        return [] if torch.equal(a, b) else [path]
    if isinstance(a, dict):
        if a.keys() != b.keys():
            return [f'{path}: keys']
        return [d for key in a for d in differences(a[key], b[key], f'{path}.{key}')]
    if isinstance(a, (list, tuple)):
        if len(a) != len(b):
            return [f'{path}: length']
        return [d for i, (x, y) in enumerate(zip(a, b)) for d in differences(x, y, f'{path}.{i}')]
    return [] if a == b else [path]
