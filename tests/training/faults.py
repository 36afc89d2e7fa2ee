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

from agvm_mm.parts import AGVMPart, Pass
from agvm_mm.wrappers import PartsMixin

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


def make_late(model: nn.Module, wrapper: PartsMixin, update: int, seconds: float) -> None:
    """Sleep twice in one update: before its backward pass and before its estimate is reduced."""
    part = wrapper.part(AGVMPart)
    assert part is not None and part.settings.estimates_at(update)
    after_backward = part.after_backward

    def sleep() -> None:
        if wrapper.updates == update:
            time.sleep(seconds)

    def late_estimate(this: Pass) -> None:
        sleep()
        after_backward(this)

    model.register_forward_hook(lambda *_: sleep())
    part.after_backward = late_estimate  # type: ignore[method-assign]
