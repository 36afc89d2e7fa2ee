"""Schedules that follow the share of compute and not the iteration."""

from __future__ import annotations

import math
from typing import Any

from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ..hooks import UpdateParamSchedulerHook
from .stages import Schedule


@HOOKS.register_module()
class ComputeParamSchedulerHook(UpdateParamSchedulerHook):
    """Steps the config's schedules as the run at full size would have, by its compute.

    When a share x of the compute is spent, a schedule over n iterations (epochs) has made
    floor(x n) of its steps: warm-up, milestones and decay come where they belong in the run at
    full size, whose lengths the config states. An iteration never costs more than one at full
    size, unless samples are replayed, so that a schedule makes at most one step after it.

    The number of steps made is in the state of the schedules, which a checkpoint holds; a resumed
    run goes on from there. The arguments are those of
    :class:`agvm_mm.hooks.UpdateParamSchedulerHook`.
    """

    schedule: Schedule | None = None
    full_length = 0
    full_epochs = 0

    def follow(self, schedule: Schedule, full_length: int, full_epochs: int) -> None:
        """Take the stages, and the iterations and epochs of the run at full size."""
        self.schedule, self.full_length, self.full_epochs = schedule, full_length, full_epochs

    def before_train(self, runner: Runner) -> None:
        """Stop a run without a curriculum."""
        if self.schedule is None:
            raise ValueError(
                'default_hooks.param_scheduler is ComputeParamSchedulerHook and custom_hooks has '
                "no CurriculumHook, whose stages it follows; allowed is type='ParamSchedulerHook', "
                'or both.'
            )

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Step every schedule as far as the compute has come, after an update."""
        if self.schedule is None or not runner.optim_wrapper.should_update():
            return
        spent = self.schedule.compute_at(runner.iter + 1)
        updates = math.ceil(self.full_length / self.accumulative_counts)  # the last may be smaller
        for index, scheduler in enumerate(runner.param_schedulers or ()):
            if scheduler.by_epoch:
                length = self.full_epochs
            else:
                length = updates * (self.stride if index in self.converted else 1)
            while scheduler._global_step < math.floor(spent * length + 1e-6):
                scheduler.step()

    def after_train_epoch(self, runner: Runner) -> None:
        """Nothing: schedules in epochs count epochs at full size."""
