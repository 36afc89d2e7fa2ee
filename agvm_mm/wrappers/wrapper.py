"""The optimizer wrappers that a config names: MMEngine's, with an ordered list of parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial, wraps
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar, cast

import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import Tensor, nn
from torch.optim import Optimizer

from ..loop.binding import unwrapped
from ..loop.held import STEP_ORDER, UPDATES_KEY, HeldParts
from ..parts import Part, Pass, UnitClipPart
from ..parts.clip_window import UpdateWindow, split_window
from ..parts.groups import shown
from .accumulate import accumulation, place
from .log import MessageHubLog
from .normalisers import warn_unless_shared
from .total_batch import check_applied_here

P = TypeVar('P', bound=Part)
Method = TypeVar('Method', bound=Callable[..., Any])


def outside_graphs(method: Method) -> Method:
    """Keep a method out of the graphs of ``torch.compile``.

    ``torch.compiler.disable`` imports the compiler, which takes seconds, so it is called on first
    use: by then an optimizer exists, and building one has imported the compiler.
    """
    disabled: Callable[..., Any] | None = None

    @wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal disabled
        if disabled is None:
            disabled = torch.compiler.disable(method)
        return disabled(*args, **kwargs)

    return cast(Method, call)


class PartsMixin(OptimWrapper):
    """Adds parts to an MMEngine optimizer wrapper; put it first in the class's bases.

    The wrapper holds the parts and one clock, the number of optimizer updates made. It tells the
    parts what happens and leaves everything else to the base wrapper.

    Args:
        clip_grad: as in MMEngine, or ``type='agc'`` with the options of
            :class:`agvm_mm.parts.UnitClipPart`; and a window of updates ``begin``, ``end``
            (exclusive).
        **kwargs: the options of each part under its key (``agvm``, ``kfac``, ``join_groups``);
            None switches a part off. All others go to the base wrapper.

    Attributes:
        updates: optimizer updates made; the clock of all parts.

    Raises:
        ValueError: at once for a wrong value; on meeting the model for a set-up that cannot work.
    """

    part_defaults: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    def __init__(
        self, optimizer: Optimizer, *, clip_grad: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> None:
        self._held = self.parts_of({**kwargs, UnitClipPart.key: clip_grad})
        for kind in STEP_ORDER:
            kwargs.pop(kind.key, None)
        clipping, self._clip_window = (
            (None, UpdateWindow()) if UnitClipPart.key in self._held else split_window(clip_grad)
        )
        super().__init__(optimizer=optimizer, clip_grad=clipping, **kwargs)
        self._launch_checked = False
        self._this: Pass | None = None
        self._groups: list[dict[str, Any]] = []  # the config's, while others are in their place

    @classmethod
    def parts_of(cls, options: Mapping[str, Any]) -> HeldParts:
        """The parts that a config's options of the wrapper ask for, still without a model.

        Raises:
            ValueError: an option of a part has a wrong value.
        """
        given = {kind.key: options[kind.key] for kind in STEP_ORDER if kind.key in options}
        return HeldParts({**cls.part_defaults, **given})

    def part(self, kind: type[P]) -> P | None:
        """The part of this type; None if the config has none."""
        return self._held.part(kind)

    @property
    def updates(self) -> int:
        """Optimizer updates made; the clock of all parts."""
        return self._held.updates

    @updates.setter
    def updates(self, updates: int) -> None:
        self._held.updates = updates

    def initialize_count_status(self, model: nn.Module, init_counts: int, max_counts: int) -> None:
        """Meet the model, as MMEngine's runners do before training."""
        super().initialize_count_status(model, init_counts, max_counts)
        self._meet(model, init_counts)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """As in MMEngine; meets the model if no runner has done so before."""
        if not self._launch_checked:
            self._launch_checked = True
            check_applied_here(self.message_hub, accumulation(self))
            if accumulation(self) > 1:
                warn_unless_shared(unwrapped(model))
        if not self._held.bound:
            self._meet(model, self.message_hub.get_info('iter', 0))
        with super().optim_context(model):
            yield

    @outside_graphs
    def update_params(self, *args: Any, **kwargs: Any) -> None:
        """As in MMEngine, but never compiled."""
        super().update_params(*args, **kwargs)

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Back-propagate with every part watching."""
        self._require_bound()
        self._this = self._pass(self._held.images.take())
        with self._held.around_backward(self._this):
            super().backward(loss, **kwargs)

    def step(self, **kwargs: Any) -> None:
        """Step with every part around it, in :data:`STEP_ORDER`; then advance the clock."""
        self._require_bound()
        self._require_no_capture()
        this = self._this or self._pass(0)
        self._groups = self.optimizer.param_groups
        self._held.after_backward(this)
        with self._held.around_step(this, self.optimizer):
            super().step(**kwargs)
        self._this = None
        self._held.go_on_from(self.updates + 1)

    def state_dict(self) -> dict[str, Any]:
        """The base wrapper's state, the clock under 'updates', each part's state under its key.

        The state of a part that the config has switched off is dropped.
        """
        return {**super().state_dict(), **self._held.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Inverse of :meth:`state_dict`; takes a plain wrapper's checkpoint too."""
        keys = [UPDATES_KEY, *(kind.key for kind in STEP_ORDER)]
        super().load_state_dict({k: v for k, v in state_dict.items() if k not in keys})
        self._held.load_state_dict(state_dict)

    def _refuse_engine(self, engine: object) -> None:
        """Called by DeepSpeedStrategy, which then trains without this wrapper."""
        raise ValueError(
            f'optim_wrapper.type is {type(self).__name__} and strategy.type is DeepSpeedStrategy, '
            'whose engine runs the backward pass and the step itself; set '
            "strategy.type='DDPStrategy', or optim_wrapper.type='DeepSpeedOptimWrapper' to train "
            'without the methods of this package.'
        )

    model = property(fset=_refuse_engine)

    def _clip_grad(self) -> None:
        if self.updates in self._clip_window:
            # The order of the groups decides how their norms round.
            with shown(self.optimizer, self._groups):
                super()._clip_grad()

    def _loss_scale(self) -> float | Tensor:
        """The multiplier of the loss in mixed precision."""
        return 1.0

    @outside_graphs
    def _meet(self, model: nn.Module, iterations: int) -> None:
        """Bind the parts; again after a resume that follows the first meeting."""
        if not self.updates:  # a plain wrapper's checkpoint has no clock
            self.updates = iterations // accumulation(self)
        log = MessageHubLog(self.message_hub)
        self._held.bind(model, self.optimizer, accumulation(self), partial(place, self), log)

    def _require_bound(self) -> None:
        if not self._held.bound and any(part.needs_model for part in self._held):
            raise RuntimeError(
                f'{type(self).__name__} has not seen the model: run the forward pass inside '
                "`with optim_wrapper.optim_context(model)`, as MMEngine's runners do."
            )

    def _require_no_capture(self) -> None:
        capturing = torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing()
        if list(self._held) and capturing:
            raise RuntimeError(
                f'{type(self).__name__} is stepping while a CUDA graph is captured, which would '
                'repeat the learning rates, scales and estimates of this one update for ever; '
                'capture forward and backward pass at most, and call optim_wrapper.step() outside '
                'of the graph.'
            )

    def _pass(self, images: int) -> Pass:
        """The coming backward pass and its place within its update."""
        index, count = place(self)
        return Pass(self.updates, index, count, images, self._loss_scale)


@OPTIM_WRAPPERS.register_module()
class PartsOptimWrapper(PartsMixin):
    """MMEngine's ``OptimWrapper`` with parts, each of them off by default.

    Arguments are those of :class:`PartsMixin`.
    """


class _LossScaled(PartsMixin, AmpOptimWrapper):
    """Gradients carry the loss scale when parts see them; a part divides by it."""

    def _loss_scale(self) -> Tensor:
        # The scaler's own copy on the device: reading its number would wait for the device.
        parameter = self.optimizer.param_groups[0]['params'][0]
        scaled: Tensor = self.loss_scaler.scale(torch.ones((), device=parameter.device))
        return scaled


@OPTIM_WRAPPERS.register_module()
class PartsAmpOptimWrapper(_LossScaled):
    """MMEngine's ``AmpOptimWrapper`` with parts, each of them off by default.

    Arguments are those of :class:`PartsMixin`.
    """


AGVM_DEFAULTS: Mapping[str, Any] = MappingProxyType({'agvm': {}, 'join_groups': True})


@OPTIM_WRAPPERS.register_module()
class AGVMOptimWrapper(PartsMixin):
    """``PartsOptimWrapper`` that measures with AGVM and joins equal groups by default."""

    part_defaults = AGVM_DEFAULTS


@OPTIM_WRAPPERS.register_module()
class AGVMAmpOptimWrapper(_LossScaled):
    """``PartsAmpOptimWrapper`` that measures with AGVM and joins equal groups by default."""

    part_defaults = AGVM_DEFAULTS
