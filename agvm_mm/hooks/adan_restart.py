"""Restarts of Adan's moving averages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.optim import OptimWrapperDict
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch.optim import Optimizer

from agvm_runs.checks import is_count

from ..optimizers.adan import restart_adan
from ..wrappers import accumulation


@HOOKS.register_module()
class AdanRestartHook(Hook):
    """Lets Adan forget its averages at given epochs and updates; the first is the warm-up's end.

    The step after a restart is a first step: zero averages, zero difference of gradients. The
    authors restart once after the warm-up and then now and then, "like at epoch 50, 100"; only one
    of their ablations does so at all. Whether a restart is due depends on the number of the
    iteration alone, so a resumed run restarts where an uninterrupted one does.

    Args:
        epochs: restart when so many epochs are done, from 1 on.
        updates: restart when so many optimizer updates are done, from 1 on.

    Raises:
        ValueError: here for a wrong value; at the start of training where nothing is Adan.

    References:
        Xie et al., arXiv:2208.06677, algorithm 1; the maintainers' answer in sail-sg/Adan#37.
    """

    priority = 'VERY_HIGH'

    def __init__(self, epochs: Sequence[int] = (), updates: Sequence[int] = ()) -> None:
        for name, values in dict(epochs=epochs, updates=updates).items():
            if not isinstance(values, (list, tuple)) or not all(is_count(v, 1) for v in values):
                raise ValueError(
                    f'AdanRestartHook.{name} is {values!r}; allowed is a list of whole numbers, at '
                    'least 1.'
                )
        if not (*epochs, *updates):
            raise ValueError(
                'AdanRestartHook has neither epochs nor updates; give it the end of the warm-up.'
            )
        self.epochs = tuple(epochs)
        self.updates = tuple(updates)
        self._iterations: frozenset[int] = frozenset()

    def before_train(self, runner: Runner) -> None:
        """Find the iterations before which to restart."""
        if not list(_adans(runner)):
            raise ValueError(
                'custom_hooks has an AdanRestartHook and no optimizer is Adan; set '
                "optim_wrapper.optimizer.type='AdanOptimizer', or remove the hook."
            )
        length = len(runner.train_dataloader)
        counts = max(accumulation(wrapper) for wrapper in _wrappers(runner))
        self._iterations = frozenset(
            [epoch * length for epoch in self.epochs] + [u * counts for u in self.updates]
        )

    def before_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Restart where it is due."""
        if runner.iter not in self._iterations:
            return
        for optimizer in _adans(runner):
            restart_adan(optimizer)
        print_log(f'Adan restarts before iteration {runner.iter}.', logger='current')


def _wrappers(runner: Runner) -> list[Any]:
    wrapper = runner.optim_wrapper
    return list(wrapper.values()) if isinstance(wrapper, OptimWrapperDict) else [wrapper]


def _adans(runner: Runner) -> Iterator[Optimizer]:
    for wrapper in _wrappers(runner):
        if any(kind.__name__ == 'Adan' for kind in type(wrapper.optimizer).__mro__):
            yield wrapper.optimizer
