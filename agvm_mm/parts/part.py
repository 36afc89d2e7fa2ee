"""The interface between a method and the training loop: a part, bound once to a run.

An optimizer wrapper holds an ordered list of parts and the one clock. For every optimizer update
it calls

1. :meth:`Part.before_update` before the first forward pass,
2. :meth:`Part.around_backward` around each backward pass, if :meth:`Part.watches` says so,
3. :meth:`Part.after_backward` after the last pass,
4. :meth:`Part.around_step` around the optimizer's step.

The second and the last return context managers. A part does its work on entering. On leaving it
undoes what only the step may see.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol

import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from ..gradients import BlockPreconditioner
from ..statistics import ModulePartition
from ..statistics.modules import default_modules


class Log(Protocol):
    """The log of a run, as parts see it."""

    def say(self, text: str, warning: bool = False) -> None:
        """Write ``text`` to the run's log."""

    def scalars(self, values: Mapping[str, float | Tensor]) -> None:
        """Record values of the present update by name, such as 'agvm/phi/backbone'.

        A tensor without dimensions is read when somebody looks at it, so that the step does not
        wait for the device.
        """

    def drop(self, names: Iterable[str]) -> None:
        """Stop showing values that are out of date."""


@dataclass(frozen=True)
class Pass:
    """One backward pass of an optimizer update.

    Args:
        update: optimizer updates made before this one.
        index: of the pass within its update, from 0.
        count: passes in the update; the gradient of each is 1/``count`` of a sample gradient.
        images: images of this rank in the pass; 0 if the model does not show them.
        loss_scale: returns the multiplier of the loss in mixed precision. It is a function because
            most updates do not need the value.
    """

    update: int
    index: int
    count: int
    images: int
    loss_scale: Callable[[], float | Tensor]


@dataclass(frozen=True)
class Run:
    """The model and the optimizer of a training, to which every part is bound.

    Args:
        model: the model as the trainer holds it.
        network: the bare network, without any data-parallel wrapper.
        optimizer: the optimizer that trains it.
        group: the data-parallel ranks; None for a single process.
        partition: the trainable parameters by module.
        accumulation: backward passes in one update.
        place: returns the index of the coming backward pass within its update, and the passes of
            that update, which are fewer in the last one of a run.
        log: of the run.
        bound: the parts that were bound before, by key.
    """

    model: nn.Module
    network: nn.Module
    optimizer: Optimizer
    group: dist.ProcessGroup | None
    partition: ModulePartition
    accumulation: int
    place: Callable[[], tuple[int, int]]
    log: Log
    bound: Mapping[str, Part]

    @cached_property
    def module_of(self) -> dict[int, str]:
        """Name of every parameter's module by ``id(parameter)``, including frozen parameters.

        A frozen parameter, which a hook may thaw later, belongs to its module by default.
        """
        default = default_modules(self.network)
        names = {id(p): default[name] for name, p in self.network.named_parameters()}
        owners = [self.partition.names[index] for index in self.partition.module_of.tolist()]
        names.update((id(p), owner) for p, owner in zip(self.partition.parameters, owners))
        return names


class Part:
    """One method. The defaults do nothing, so a subclass overrides what it needs.

    Attributes:
        key: name of the part in a config and in a checkpoint.
        title: name of the method in messages.
        where: the config's key; setting it to None switches the part off.
        needs_model: whether the part works only after :meth:`bind`.
        needs_ranks: whether the part must know how gradients are averaged over ranks.
    """

    key: ClassVar[str]
    title: ClassVar[str]
    where: ClassVar[str]
    needs_model: ClassVar[bool] = True
    needs_ranks: ClassVar[bool] = False

    @classmethod
    def from_config(cls, value: Any) -> Part | None:
        """The part that a config's value asks for; None if it is off."""
        return None if value is None else cls(value)

    def __init__(self, value: Any) -> None:
        """Check the config's value.

        Raises:
            ValueError: names the key, the value and what is allowed.
        """

    @property
    def works_sharded(self) -> bool:
        """Whether the part works where ``fully_shard`` leaves every rank a shard of the mean."""
        return False

    def divide(self, network: nn.Module) -> ModulePartition | None:
        """The modules that this part needs; None if any division will do."""
        return None

    def bind(self, run: Run) -> None:
        """Bind to the run; refuse a set-up that cannot work.

        Raises:
            ValueError: one sentence with the reason and the key to change.
        """

    def detach(self) -> None:
        """Remove hooks on the model, also where :meth:`bind` has not come that far."""

    def before_update(self, update: int) -> None:
        """Prepare for ``update``, before its first forward pass.

        Called after :meth:`bind`, after a resume and after every step.
        """

    def watches(self, update: int) -> bool:
        """Whether the part watches the backward passes of ``update``, the present one."""
        return False

    def watched_layers(self) -> Iterable[nn.Module]:
        """Layers whose outputs' gradients the part reads, in an update that it watches."""
        return ()

    def around_backward(self, this: Pass) -> AbstractContextManager[None]:
        """Context manager around one backward pass of an update that the part watches."""
        return nullcontext()

    def after_backward(self, this: Pass) -> None:
        """Read the mean gradients of the update, before anything changes them."""

    def around_step(self, this: Pass) -> AbstractContextManager[None]:
        """Context manager around the optimizer's step; ``this`` is the update's last pass."""
        return nullcontext()

    def geometry(self, partition: ModulePartition) -> BlockPreconditioner | None:
        """The matrices by which this part preconditions gradients, for parts bound later."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """The state for a checkpoint; it must load with ``weights_only=True``."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of :meth:`state_dict`; called after :meth:`bind`."""
