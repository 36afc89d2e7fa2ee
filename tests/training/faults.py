"""Faults of the machine, as hooks."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn

from agvm_mm.optim import AGVMMixin
from agvm_mm.statistics import VarianceEstimate

KILL = 'AGVM_MM_TEST_KILL'
FILE_LIMIT = 1_000_000


@HOOKS.register_module()
class KillHook(Hook):
    """Kills its own process before an iteration, as the kernel does when memory runs out.

    The environment variable :data:`KILL` holds rank, epoch and iteration of the epoch, all from 0;
    without it nothing happens. Every rank leaves its process id in the work directory.
    """

    def before_train(self, runner: Runner) -> None:
        (Path(runner.work_dir) / f'{get_rank()}.pid').write_text(str(os.getpid()))

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if os.environ.get(KILL) == f'{get_rank()},{runner.epoch},{batch_idx}':
            os.kill(os.getpid(), signal.SIGKILL)


class FullDiskHook(Hook):
    """From an epoch on no file of this process can grow beyond :data:`FILE_LIMIT` bytes."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def before_train_epoch(self, runner: Runner) -> None:
        import resource

        if runner.epoch == self.epoch:
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_LIMIT, hard))


class LateRankHook(Hook):
    """Rank 1 comes late to every collective of one update, see :func:`make_late`."""

    def __init__(self, update: int, seconds: float) -> None:
        self.update = update
        self.seconds = seconds

    def before_train(self, runner: Runner) -> None:
        if get_rank() == 1:
            make_late(runner.model, runner.optim_wrapper, self.update, self.seconds)


def make_late(model: nn.Module, wrapper: AGVMMixin, update: int, seconds: float) -> None:
    """Sleep twice in one update: before its backward pass and before its estimate is reduced."""
    modulator = wrapper.modulator
    assert modulator is not None and modulator.settings.estimates_at(update)
    observe = modulator.observe

    def sleep() -> None:
        if modulator.update == update:
            time.sleep(seconds)

    def late_observe(loss_scale: float = 1.0) -> VarianceEstimate | None:
        sleep()
        return observe(loss_scale)

    model.register_forward_hook(lambda *_: sleep())
    modulator.observe = late_observe  # type: ignore[method-assign]
