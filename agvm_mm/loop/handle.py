"""What ``attach`` returns: the parts, driven by hooks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Any, TypeVar
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from agvm_runs.checks import counted

from ..parts import AGVMPart, KFACPart, Part, Pass, report
from .binding import is_compiled, require_no_join, unwrapped
from .held import HeldParts, require_saved
from .passes import BackwardPasses
from .words import LastScalars, said_by_attach

P = TypeVar('P', bound=Part)
Step = tuple[tuple[Any, ...], dict[str, Any]]

_ATTACHED: WeakSet[Optimizer] = WeakSet()


class Handle:
    """Parts that take part in every step of an optimizer until :meth:`detach`.

    Before a step they have measured the gradient as the backward pass left it, so clipping and
    unscaling in the loop do not disturb them. Hooks are on parameters only during an update that a
    part watches.

    Args:
        held: the parts.
        model: as the loop trains it.
        optimizer: of the model.
        accumulation: backward passes in one update.
        scaler: of the loss in mixed precision.

    Raises:
        ValueError: the set-up cannot work.
    """

    def __init__(
        self,
        held: HeldParts,
        model: nn.Module,
        optimizer: Optimizer,
        accumulation: int,
        scaler: torch.amp.GradScaler | None,
    ) -> None:
        if optimizer in _ATTACHED:
            raise ValueError(
                f'this {type(optimizer).__name__} is attached already, and its learning rates '
                'would be scaled twice; call detach() of the first handle.'
            )
        self._held = held
        self._optimizer = optimizer
        self._accumulation = accumulation
        self._scaler = scaler
        self._log = LastScalars()
        self._model, self._network = model, unwrapped(model)
        self._passes = BackwardPasses(self._begin_pass, self._end_pass)
        self._around_pass, self._around_step = ExitStack(), ExitStack()
        self._this: Pass | None = None
        self._done = 0
        self._said_short = False
        held.bind(model, optimizer, accumulation, self._place, self._log)
        self._hooks = [
            optimizer.register_step_pre_hook(self._before_step),
            optimizer.register_step_post_hook(self._after_step),
        ]
        _ATTACHED.add(optimizer)
        self._arm()

    @property
    def updates(self) -> int:
        """Optimizer updates made; the clock of all parts."""
        return self._held.updates

    def part(self, kind: type[P]) -> P | None:
        """The part of this type; None if it is off."""
        return self._held.part(kind)

    def scalars(self) -> dict[str, float]:
        """The last values of the log by name, such as 'agvm/phi/backbone'.

        Of AGVM: phi with its 95 % interval, noise scale in images, scale, learning rate.
        """
        return {name: float(value) for name, value in self._log.values.items()}

    def table(self) -> str:
        """The modules, their phi, noise scale, scale and learning rate, as a Markdown table."""
        part = self.part(AGVMPart)
        rows = [] if part is None else part.rows(self.updates)
        return report.table(rows)

    def state_dict(self, on_all_ranks: bool = False) -> dict[str, Any]:
        """The clock and the state of the parts; it loads with ``weights_only=True``.

        Args:
            on_all_ranks: whether every rank calls this; the state of rank 0 then has the factors of
                K-FAC on all ranks, which a resumed run otherwise measures anew.
        """
        kfac = self.part(KFACPart) if on_all_ranks else None
        if kfac is None:
            return self._held.state_dict()
        kfac.gather()
        state = self._held.state_dict()
        kfac.release()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of :meth:`state_dict`, between two updates.

        Raises:
            ValueError: the state is of other modules or layers, or none of a handle.
        """
        require_saved(state)
        with said_by_attach():
            self._held.load_state_dict(state)
            self._arm()

    def detach(self) -> None:
        """Take part no longer; what was measured can still be read."""
        self._around_step.close()
        self._abandon_pass()
        self._passes.unwatch()
        self._held.detach()
        for hook in self._hooks:
            hook.remove()
        _ATTACHED.discard(self._optimizer)

    def _arm(self) -> None:
        """Prepare for the coming update: hooks on parameters only if a part watches it."""
        self._abandon_pass()
        self._passes.unwatch()
        self._held.images.take()  # of an update that nobody watched
        self._done, self._this = 0, None
        self._held.go_on_from(self.updates)
        watching = self._held.watching
        if watching:
            layers = [layer for part in watching for layer in part.watched_layers()]
            # A compiled network would keep the hook in its graph.
            outside = [] if is_compiled(self._model) else [self._network]
            self._passes.watch(self._network.parameters(), [*outside, *layers])

    def _place(self) -> tuple[int, int]:
        """The index of the coming backward pass within its update, and the passes of an update."""
        return self._done % self._accumulation, self._accumulation

    def _begin_pass(self) -> None:
        with said_by_attach():
            self._abandon_pass()
            require_no_join(self._model)
            if self._done == self._accumulation:
                self._require_skipped()
                self._done = 0
            count, images = self._accumulation, self._held.images.take()
            self._this = Pass(self.updates, self._done, count, images, self._loss_scale)
            self._around_pass.enter_context(self._held.around_backward(self._this))

    def _end_pass(self) -> None:
        with said_by_attach():
            self._around_pass.close()
            self._done += 1
            if self._done == self._accumulation and self._this is not None:
                self._held.after_backward(self._this)

    def _abandon_pass(self) -> None:
        """Leave a backward pass that has failed, without counting it."""
        failed = RuntimeError('the backward pass has failed')
        with suppress(RuntimeError):
            self._around_pass.__exit__(RuntimeError, failed, None)

    def _require_skipped(self) -> None:
        if self._scaler is None:
            raise RuntimeError(
                f'a backward pass follows the {counted(self._accumulation, "pass")} of an update '
                f'without a step of {type(self._optimizer).__name__}; set accumulation to the '
                'number of backward passes of an update, and give attach the scaler if one skips '
                'steps.'
            )

    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> Step | None:
        closure = args[1] if len(args) > 1 else kwargs.get('closure')
        if closure is None:
            self._enter_step()
            return None
        # The backward pass is in the closure, which every optimizer calls first in its step.
        called = self._calling(closure)
        if len(args) > 1:
            return (args[0], called, *args[2:]), kwargs
        return args, {**kwargs, 'closure': called}

    def _calling(self, closure: Callable[[], Any]) -> Callable[[], Any]:
        def call() -> Any:
            loss = closure()
            self._enter_step()
            return loss

        return call

    def _enter_step(self) -> None:
        with said_by_attach():
            self._around_step.close()  # of a step that has failed
            if self._passes.watching and self._done < self._accumulation:
                self._say_short()
            this = self._this
            if this is None:
                this = Pass(self.updates, 0, self._accumulation, 0, self._loss_scale)
            if self._done < self._accumulation:  # too few passes to count
                self._held.after_backward(this)
            this = replace(this, loss_scale=self._step_scale)
            self._around_step.enter_context(self._held.around_step(this, self._optimizer))

    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        with said_by_attach():
            self._around_step.close()
            self._held.updates += 1
            self._arm()

    def _say_short(self) -> None:
        if not self._said_short:
            self._said_short = True
            self._log.say(
                f'update {self.updates} had {counted(self._done, "backward pass")} and '
                f'accumulation is {self._accumulation}, so nothing was measured; that is normal '
                'for the last update of an epoch, otherwise correct accumulation. This warning is '
                'given once.',
                warning=True,
            )

    def _loss_scale(self) -> float | Tensor:
        """The multiplier of the loss during the backward pass."""
        if self._scaler is None:
            return 1.0
        # The scaler's own copy on the device: reading its number would wait for the device.
        scaled: Tensor = self._scaler.scale(
            torch.ones((), device=next(self._network.parameters()).device)
        )
        return scaled

    def _step_scale(self) -> float | Tensor:
        """The multiplier of the gradients in the step: some fused optimizers divide by it."""
        scale: Tensor | None = getattr(self._optimizer, 'grad_scale', None)
        return 1.0 if scale is None else scale
