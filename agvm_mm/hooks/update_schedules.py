"""Schedules and checkpoints that count optimizer updates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.hooks import EMAHook, ParamSchedulerHook
from mmengine.registry import HOOKS
from mmengine.runner import EpochBasedTrainLoop

COUNTS_KEY = 'accumulative_counts'
STRIDE_KEY = 'schedule_stride'


@HOOKS.register_module()
class UpdateParamSchedulerHook(ParamSchedulerHook):
    """Steps iteration-based schedules at optimizer updates, and lets a run resume on other ranks.

    MMEngine's own hook steps them at every micro-batch; for ``accumulative_counts=1`` the two
    agree. A schedule in iterations steps once per update. One with ``convert_to_iter_based`` is
    laid out by MMEngine over the micro-batches of its epochs and advances
    k = ``accumulative_counts`` of its steps per update: update u has the value of step k u. For
    lengths of ``end - begin`` (cosine, multi-step, ``ExponentialWarmupLR``) that is the value
    without accumulation; LinearLR and PolyLR divide by ``end - begin - 1`` and differ by less than
    1/n of their range over n updates; ExponentialLR, whose gamma MMEngine applies per step, is
    another schedule for every k.

    A checkpoint gets ``meta['accumulative_counts']`` and ``meta['schedule_stride']``. Where a run
    resumes from it with another k, the iteration counters are converted so that the same updates
    lie behind it, and converted schedules go on in the steps in which they were laid out.

    Args:
        accumulative_counts: micro-batches in an optimizer update of this launch.
        converted: positions in ``param_scheduler`` of the entries with ``convert_to_iter_based``.
    """

    def __init__(self, accumulative_counts: int = 1, converted: Sequence[int] = ()) -> None:
        self.accumulative_counts = accumulative_counts
        self.converted = frozenset(converted)
        self.stride = accumulative_counts

    def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        """Step the iteration-based schedules after an update."""
        if not runner.optim_wrapper.should_update():
            return
        for index, scheduler in enumerate(runner.param_schedulers or ()):
            if not scheduler.by_epoch:
                for _ in range(self.stride if index in self.converted else 1):
                    scheduler.step()

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Note what the counters of the checkpoint count."""
        checkpoint['meta'].update({COUNTS_KEY: self.accumulative_counts, STRIDE_KEY: self.stride})

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Convert the counters of a checkpoint that is resumed from."""
        meta = checkpoint.get('meta', {})
        if not runner.cfg.get('resume') or COUNTS_KEY not in meta:
            return
        before, now = meta[COUNTS_KEY], self.accumulative_counts
        self.stride = meta[STRIDE_KEY]
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            # MMEngine goes on at the start of an epoch, whose length depends on the ranks.
            meta['iter'] = meta['epoch'] * len(runner.train_dataloader)
        else:
            meta['iter'] = meta['iter'] // before * now
        _convert_averages(runner, before, now)


def _convert_averages(runner: Any, before: int, now: int) -> None:
    """Convert the step counter of averaged weights, which EMAHook has loaded by now.

    The counter is 1 after the first averaged update and grows with the micro-batches.
    """
    for hook in runner.hooks:
        if isinstance(hook, EMAHook) and hook.ema_model.steps > 0:
            steps = hook.ema_model.steps
            steps.copy_((steps - 1).div(before, rounding_mode='floor') * now + 1)
