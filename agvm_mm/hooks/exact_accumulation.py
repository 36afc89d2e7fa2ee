"""Micro-batches that share the normalisers of their losses, as ranks do."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.logging import MessageHub, print_log
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ..loop.binding import unwrapped
from ..wrappers.accumulate import place
from ..wrappers.normalisers import SharedNormalisers
from .lookahead import look_ahead
from .undo import NoStep, RandomState, undone


@HOOKS.register_module()
class ExactAccumulationHook(Hook):
    """Makes k micro-batches of R ranks one update of k R ranks, for heads that share normalisers.

    Before the first micro-batch of an update, a pass without gradients over all of them records
    what the heads hand to ``reduce_mean`` (see
    :class:`agvm_mm.wrappers.normalisers.SharedNormalisers`). Random numbers, buffers and attributes
    are then as before, and every micro-batch draws the same numbers again. It works with every
    optimizer wrapper. Without accumulation, or without such a head, it does nothing.

    The micro-batches of an update that begins in one epoch and ends in the next share what those
    of the same epoch counted.

    Raises:
        ValueError: at the start of training, for several optimizers or an unknown training loop.
    """

    priority = 'LOWEST'  # after all hooks that change the model or the batch of an iteration

    def before_train(self, runner: Runner) -> None:
        """Find the heads, and see batches early."""
        if not isinstance(runner.optim_wrapper, OptimWrapper):
            raise ValueError(
                'ExactAccumulationHook needs one optimizer for the whole model and optim_wrapper '
                f'is {type(runner.optim_wrapper).__name__}; allowed is OptimWrapper or a subclass.'
            )
        self._network: Any = unwrapped(runner.model)
        self._normalisers = SharedNormalisers(self._network)
        self._states: deque[RandomState] = deque()
        heads = self._normalisers.heads
        if heads:
            self._ahead = look_ahead(runner.train_loop)
            self._normalisers.install()
        which = f'share the normalisers of {", ".join(heads)}' if heads else 'have none to share'
        print_log(f'ExactAccumulationHook: the micro-batches of an update {which}.', 'current')

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Record the update that begins here; then repeat the random numbers of this pass."""
        if not self._normalisers.heads:
            return
        if not self._states:
            index, count = place(runner.optim_wrapper)
            batches = [data_batch, *self._ahead.peek(count - index - 1)]
            if len(batches) > 1:
                self._record(runner, batches)
        if self._states:
            self._states.popleft().restore()
            self._normalisers.replay()

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Compare what was counted after the last micro-batch of the update."""
        if self._normalisers.heads and not self._states:
            self._normalisers.check()
            self._normalisers.forget()

    def after_train(self, runner: Runner) -> None:
        """Leave MMDetection's modules as they were."""
        self._normalisers.remove()

    def _record(self, runner: Runner, batches: list[Any]) -> None:
        """Go through ``batches`` without gradients and without a trace."""
        device = next(self._network.parameters()).device
        before, stand_in = RandomState.now(device), NoStep(runner.optim_wrapper, runner.model)
        with torch.no_grad(), undone(self._network):
            for offset, batch in enumerate(batches):
                self._states.append(RandomState.now(device))
                with self._normalisers.recording(), _iteration(runner.message_hub, offset):
                    # Data preprocessors move boxes in place.
                    self._network.train_step(copy.deepcopy(batch), stand_in)
        before.restore()
        self._normalisers.share()


@contextmanager
def _iteration(hub: MessageHub, offset: int) -> Iterator[None]:
    """Let the message hub, which data preprocessors ask, be ``offset`` iterations ahead."""
    now = hub.get_info('iter', 0)
    hub.update_info('iter', now + offset)
    try:
        yield
    finally:
        hub.update_info('iter', now)
