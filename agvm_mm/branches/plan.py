"""The config of a branch: the recipe at another batch, its rate constant, without validation."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from agvm_runs.work_dir import type_name

from ..launch.batch import effective_batch, images_per_rank
from ..launch.batch_steps import base_batch
from ..launch.checkpoint import require_plain
from ..launch.errors import LaunchError, Note
from ..launch.learning_rate import learning_rate
from ..launch.lengths import STOCK_HOOK, hooks_of
from ..launch.record import Launch
from ..launch.runner import TrainOptions, load_config, prepare_training
from ..wrappers.total_batch import TOTAL_BATCH

CHUNK = 1 << 20
WHERE = 'the second argument of critical_batch.py'
CURRICULUM = 'CurriculumHook'
WITHOUT = ('EMAHook', 'VarianceTableHook')  # which change nothing in the loss of a training
LINEAR = ('SGD',)
UPDATES, WINDOW = 32, 4
"""Defaults: updates of the largest batch, and windows in a branch; a loss is the mean of one."""


@dataclass(frozen=True)
class Plan:
    """What all branches of one measurement share.

    Args:
        config: path of a training config.
        checkpoint: local file of a run of it.
        images: of a branch.
        window: the last of them, over which the loss is averaged.
        rule: of the learning rate, 'linear', 'sqrt' or 'linear-then-sqrt'.
        rate: learning rate of the batch of the recipe.
        base: that batch.
        options: as ``--cfg-options``.
        digest: SHA-256 of the checkpoint.
    """

    config: str
    checkpoint: str
    images: int
    window: int
    rule: str
    rate: float
    base: int
    options: Mapping[str, Any] = field(default_factory=dict)
    digest: str = ''


def make_plan(
    config: str,
    checkpoint: str,
    factors: Sequence[int],
    images: int | None = None,
    window: int | None = None,
    rule: str | None = None,
    rate: float | None = None,
    options: Mapping[str, Any] | None = None,
) -> Plan:
    """A plan with its defaults, checked.

    Args:
        config: path of a training config.
        checkpoint: local file of a run of it.
        factors: multiples of the recipe's batch.
        images: None for 32 updates of the largest batch.
        window: None for a quarter of the images, in whole updates.
        rule: None for 'linear' with SGD and 'sqrt' with every other optimizer, as in Merrill et
            al. 2025.
        rate: None for the config's.
        options: as ``--cfg-options``.

    Raises:
        LaunchError: the checkpoint cannot be loaded, the config has a curriculum or no batch, or a
            length does not divide.
    """
    given = dict(options or {})
    cfg = load_config(config, cfg_options=dict(given))
    require_plain(checkpoint, WHERE)
    if not Path(checkpoint).is_file():
        raise LaunchError(f'{WHERE} is {checkpoint}; allowed is a local file.')
    if any(type_name(hook) == CURRICULUM for hook, _ in hooks_of(cfg)):
        raise LaunchError(
            f'{config} has a {CURRICULUM}, whose stages a branch would begin anew; give a copy of '
            'the config without it.'
        )
    base = base_batch(Launch(cfg, written_batch=cfg.get(TOTAL_BATCH)), effective_batch(cfg, 1))
    batches = sorted(base * factor for factor in factors)
    images = UPDATES * batches[-1] if images is None else images
    if window is None:
        window = max(1, images // WINDOW // batches[-1]) * batches[-1]
    for name, length in (('images', images), ('window', window)):
        for batch in (one for one in batches if length % one):
            raise LaunchError(
                f'--{name} is {length}; allowed is a multiple of every batch, of which {batch} is '
                'one.'
            )
    if images < 2 * window:
        raise LaunchError(f'--window is {window}; allowed is at most half of --images ({images}).')
    if rule is None:
        rule = 'linear' if type_name(cfg.optim_wrapper.optimizer) in LINEAR else 'sqrt'
    rate = float(learning_rate(cfg, 'a branch')) if rate is None else rate
    return Plan(config, checkpoint, images, window, rule, rate, base, given, _digest(checkpoint))


def branch_config(plan: Plan, factor: int, seed: int, work_dir: str) -> tuple[Config, list[Note]]:
    """The config of one branch, and what its launch has to say.

    ``--total-batch-size`` and ``--scale-rule`` rescale the recipe; then its rate is kept constant.
    An AGVM that measures and does not modulate is left out.

    Raises:
        LaunchError: the recipe cannot be had at this batch, or the checkpoint is not safe.
    """
    cfg = load_config(plan.config, work_dir=work_dir, cfg_options=dict(plan.options))
    cfg.optim_wrapper.optimizer.lr = plan.rate
    cfg.load_from, cfg.resume = plan.checkpoint, False
    batch = plan.base * factor
    notes = prepare_training(
        cfg, TrainOptions(seed=seed, total_batch_size=batch, scale_rule=plan.rule)
    )
    iterations = plan.images // images_per_rank(cfg)
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=iterations, val_interval=iterations)
    for key in ('val', 'test'):
        for part in ('cfg', 'dataloader', 'evaluator'):
            cfg[f'{key}_{part}'] = None
    cfg.param_scheduler = None
    cfg.default_hooks['param_scheduler'] = dict(type=STOCK_HOOK)
    cfg.default_hooks['checkpoint'] = None
    cfg.custom_hooks = [
        hook for hook in cfg.get('custom_hooks') or [] if type_name(hook) not in WITHOUT
    ]
    if cfg.get('visualizer'):
        cfg.visualizer.vis_backends = []
    agvm = cfg.optim_wrapper.get('agvm')
    if agvm is not None and agvm.get('apply') is False:
        cfg.optim_wrapper.agvm = None
    cfg.experiment_name = f'branch_x{factor}_seed{seed}_{Path(work_dir).name}'
    return cfg, notes


def _digest(path: str) -> str:
    found = hashlib.sha256()
    with open(path, 'rb') as file:
        while chunk := file.read(CHUNK):
            found.update(chunk)
    return found.hexdigest()
