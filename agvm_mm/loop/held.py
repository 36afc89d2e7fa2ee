"""The parts of one training in their order, with the one clock and one state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar, cast

from torch import nn
from torch.optim import Optimizer

from ..parts import AGVMPart, JoinedGroupsPart, KFACPart, Log, Part, Pass, UnitClipPart
from .binding import bind, unwrapped
from .images import ImageCounter
from .unreduced import UnreducedParameters

STEP_ORDER: tuple[type[Part], ...] = (AGVMPart, KFACPart, UnitClipPart, JoinedGroupsPart)
"""The parts as a step enters them: measure and scale, precondition, clip, join the groups.

AGVM measures what the ranks have averaged. K-FAC bounds the actual step, so it needs the scaled
learning rates. Groups are joined last, after AGVM has split them.
"""

BIND_ORDER: tuple[type[Part], ...] = (
    KFACPart,
    *(kind for kind in STEP_ORDER if kind is not KFACPart),
)
"""The parts as they meet the model: AGVM may measure in the geometry of a part before it."""

UPDATES_KEY = 'updates'
P = TypeVar('P', bound=Part)


class HeldParts:
    """The parts that a training loop holds; the loop tells them what happens.

    Args:
        options: the options of each part under its key; None, or no entry, for no part.

    Attributes:
        updates: optimizer updates made; the clock of all parts.
        bound: whether the parts have met the model.
        images: counts the images that the model receives.

    Raises:
        ValueError: an option has a wrong value.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._parts = {
            kind.key: part
            for kind in STEP_ORDER
            if (part := kind.from_config(options.get(kind.key))) is not None
        }
        self.updates = 0
        self.bound = False
        self.images = ImageCounter()
        self._loaded: dict[str, Any] = {}  # states of parts that have not met the model yet
        self._unreduced: UnreducedParameters | None = None

    def __iter__(self) -> Iterator[Part]:
        return iter(self._parts.values())

    def __contains__(self, key: str) -> bool:
        return key in self._parts

    def part(self, kind: type[P]) -> P | None:
        """The part of this type; None if there is none."""
        return cast('P | None', self._parts.get(kind.key))

    def bind(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        accumulation: int,
        place: Callable[[], tuple[int, int]],
        log: Log,
    ) -> None:
        """Bind the parts once, load what a checkpoint had for them, and prepare the update.

        Args:
            model: as the trainer holds it, in its data-parallel wrapper or bare.
            optimizer: that trains it.
            accumulation: backward passes in one update.
            place: see :class:`agvm_mm.parts.Run`.
            log: where the parts report.

        Raises:
            ValueError: the set-up cannot work.
        """
        if not self.bound:
            parts = [self._parts[kind.key] for kind in BIND_ORDER if kind.key in self._parts]
            try:
                bind(parts, model, optimizer, accumulation, place, log)
            except ValueError:
                self.detach()
                raise
            self.images.attach(unwrapped(model))
            self._unreduced = UnreducedParameters(model)
            self.bound = True
        self._restore()
        self.go_on_from(self.updates)

    def detach(self) -> None:
        """Remove the hooks on the model."""
        self.images.detach()
        for part in self:
            part.detach()

    def go_on_from(self, update: int) -> None:
        """Set the clock, and let every part prepare for ``update``."""
        self.updates = update
        for part in self:
            part.before_update(update)

    @property
    def watching(self) -> list[Part]:
        """The parts that watch the backward passes of the present update."""
        return [part for part in self if part.watches(self.updates)]

    @contextmanager
    def around_backward(self, this: Pass) -> Iterator[None]:
        """Context manager around a backward pass that :attr:`watching` parts watch."""
        with ExitStack() as around:
            for part in self.watching:
                around.enter_context(part.around_backward(this))
            yield

    def after_backward(self, this: Pass) -> None:
        """Let every part read the mean gradient, before anything changes it."""
        for part in self:
            part.after_backward(this)

    @contextmanager
    def around_step(self, this: Pass, optimizer: Optimizer) -> Iterator[None]:
        """Context manager around the optimizer's step, with the parts in :data:`STEP_ORDER`.

        Raises:
            RuntimeError: the step has a gradient that the ranks do not share.
        """
        if self._unreduced is not None:
            self._unreduced.require_none_stepped(optimizer)
        with ExitStack() as around:
            for part in self:
                around.enter_context(part.around_step(this))
            yield

    def state_dict(self) -> dict[str, Any]:
        """The clock under 'updates' and each part's state under its key."""
        state: dict[str, Any] = {UPDATES_KEY: self.updates}
        for key, part in self._parts.items():
            saved = part.state_dict() if self.bound else self._loaded.get(key)
            if saved:
                state[key] = saved
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of :meth:`state_dict`; the state of a part that is off is dropped."""
        self.updates = state.get(UPDATES_KEY, 0)
        self._loaded = {key: state[key] for key in self._parts if key in state}
        if self.bound:
            self._restore()
            self.go_on_from(self.updates)

    def _restore(self) -> None:
        for key, state in self._loaded.items():
            self._parts[key].load_state_dict(state)
        self._loaded = {}


def require_saved(state: object) -> None:
    """Refuse what :meth:`HeldParts.state_dict` has not returned, where nothing else may come.

    Raises:
        ValueError: says what it is.
    """
    if isinstance(state, Mapping) and UPDATES_KEY in state:
        return
    given = f'a {type(state).__name__}'
    if isinstance(state, Mapping):
        given += f' with the keys {", ".join(sorted(map(repr, state))) or "none"}'
    raise ValueError(
        f'load_state_dict() was given {given}; allowed is what state_dict() of a handle has '
        'returned.'
    )
