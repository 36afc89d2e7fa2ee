"""Train one branch: the weights and the optimizer's state of the checkpoint, at another batch."""

from __future__ import annotations

import logging
import math
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.model import is_model_wrapper
from torch.optim import Optimizer

from agvm_runs.branches.kept import Branch

from ..launch.batch import images_per_rank
from ..launch.errors import LaunchError, Note
from ..launch.rescale.rules import length
from ..launch.runner import build_runner
from ..loop.held import UPDATES_KEY
from .plan import Plan, branch_config


class BranchHook(Hook):
    """Takes up the state of the run and notes the loss of every micro-batch.

    The rate and every other option of the optimizer are those of the branch, and the clock of the
    parts is that of a run at its batch. A loss that is not finite ends the branch.

    Args:
        plan: of the branches.
        factor: of this one.

    Attributes:
        losses: by micro-batch.
        iteration: of the run at the checkpoint; None where it is not known.
        notes: what the person who started the branches should know.
    """

    priority = 'VERY_HIGH'

    def __init__(self, plan: Plan, factor: int) -> None:
        self.plan = plan
        self.factor = factor
        self.losses: list[float] = []
        self.iteration: int | None = None
        self.notes: list[Note] = []

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Load the optimizer's state.

        Raises:
            LaunchError: the checkpoint is not one of this config.
        """
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        self._check(model.state_dict(), checkpoint)
        self.iteration = (checkpoint.get('meta') or {}).get('iter')
        state = checkpoint.get('optimizer')
        if state is None:
            text = f'{self.plan.checkpoint} holds no state of the optimizer: each branch starts it.'
            self.notes.append(Note(text))
            return
        state = dict(state)
        if UPDATES_KEY in state:
            state[UPDATES_KEY] = length(state[UPDATES_KEY], self.factor)
        optimizer: Optimizer = runner.optim_wrapper.optimizer
        own = [{key: group[key] for key in optimizer.defaults} for group in optimizer.param_groups]
        try:
            runner.optim_wrapper.load_state_dict(state)
        except (KeyError, ValueError) as error:
            raise LaunchError(
                f'the state of the optimizer in {self.plan.checkpoint} does not fit optim_wrapper '
                f'of {self.plan.config} ({error}); give the config of the run.'
            ) from error
        for group, options in zip(optimizer.param_groups, own):
            group.update(options)
        rate = state['param_groups'][0]['lr']
        self.notes.append(
            Note(
                f'The run had a learning rate of {rate:.4g} at its checkpoint; batch '
                f'{self.plan.base} trains at {self.plan.rate:.4g} (--lr).'
            )
        )

    def _check(self, own: Mapping[str, Any], checkpoint: Mapping[str, Any]) -> None:
        if 'ema_state_dict' in checkpoint:
            raise LaunchError(
                f'{self.plan.checkpoint} holds averaged weights in the place of the trained ones '
                '(EMAHook); allowed is the checkpoint of a run without it.'
            )
        weights = checkpoint.get('state_dict', checkpoint)
        missing = sorted({*own} - {name.removeprefix('module.') for name in weights})
        if missing:
            raise LaunchError(
                f'{self.plan.checkpoint} lacks {len(missing)} of the {len(own)} tensors of the '
                f'model of {self.plan.config}, such as {missing[0]}; give the config of the run.'
            )

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Note the loss."""
        self.losses.append(float(outputs['loss'].detach()))
        if not math.isfinite(self.losses[-1]):
            runner.train_loop.stop_training = True


def train_branch(plan: Plan, factor: int, seed: int) -> tuple[Branch, list[Note]]:
    """One branch, its work directory thrown away, and what there is to say about it.

    Raises:
        LaunchError: the branch cannot be made.
    """
    hook = BranchHook(plan, factor)
    with tempfile.TemporaryDirectory() as folder:
        cfg, notes = branch_config(plan, factor, seed, folder)
        cfg.log_level = 'ERROR'
        runner = build_runner(cfg, [])
        MMLogger.get_current_instance().setLevel(logging.ERROR)
        runner.register_hook(hook)
        cpu, wall = time.process_time(), time.monotonic()
        runner.train()
        spent = time.process_time() - cpu, time.monotonic() - wall
    warnings = [note for note in notes if note.level >= logging.WARNING]
    per_window = plan.window // images_per_rank(cfg)
    batch = plan.base * factor
    branch = Branch(
        factor,
        batch,
        plan.images // batch,
        float(cfg.optim_wrapper.optimizer.lr),
        seed,
        _mean(hook.losses[-per_window:]),
        hook.iteration,
        settings_of(plan),
        dict(
            torch=torch.__version__,
            micro_batch=images_per_rank(cfg),
            cpu_seconds=round(spent[0], 1),
            seconds=round(spent[1], 1),
        ),
        _curve(hook.losses, per_window, plan.window),
    )
    return branch, [*warnings, *hook.notes]


def settings_of(plan: Plan) -> dict[str, Any]:
    """What the file of a branch keeps of its plan."""
    return dict(
        config=plan.config,
        checkpoint=plan.checkpoint,
        sha256=plan.digest,
        images=plan.images,
        window=plan.window,
        rule=plan.rule,
        rate=plan.rate,
        base=plan.base,
        cfg_options={key: str(value) for key, value in plan.options.items()},
    )


def _mean(losses: Sequence[float]) -> float:
    mean = statistics.fmean(losses)
    return mean if math.isfinite(mean) else math.inf


def _curve(losses: Sequence[float], length: int, images: int) -> list[list[float]]:
    """Images and mean loss of every whole window, the last one at the end."""
    first = len(losses) % length
    ends = range(first + length, len(losses) + 1, length)
    offset = first * images // length
    return [
        [offset + images * (i + 1), float(f'{_mean(losses[end - length : end]):.6g}')]
        for i, end in enumerate(ends)
    ]
