"""Backward passes, told apart in a loop that says nothing about them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any
from weakref import ref

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

QUEUE: Any = torch.autograd.Variable._execution_engine
Call = Callable[[], None]


class BackwardPasses:
    """Calls back at the first gradient of every backward pass and at its end.

    While it watches, a hook on every parameter sees which gradient is the first. The end is a
    callback of the autograd engine, behind those of the data-parallel wrapper, so that gradients
    are averaged by then. What ``torch.autograd.grad`` computes is added to no parameter and is no
    pass.

    Args:
        begin: called before any parameter of the pass has its gradient.
        end: called when the pass is over, unless it failed.
    """

    def __init__(self, begin: Call, end: Call) -> None:
        self._begin = begin
        self._end = end
        self._handles: list[RemovableHandle] = []
        self._parameters: list[nn.Parameter] = []
        self._under_way: Callable[[], _Ending | None] = _none

    @property
    def watching(self) -> bool:
        """Whether any hook is in place."""
        return bool(self._handles)

    def watch(self, parameters: Iterable[nn.Parameter], layers: Iterable[nn.Module]) -> None:
        """Put the hooks in place.

        Args:
            parameters: of the network.
            layers: whose outputs' gradients come before those of the parameters, and may be the
                first that a part wants to see. The whole network is one, because of re-entrant
                checkpointing, which is a pass within the pass.
        """
        self._parameters = [parameter for parameter in parameters if parameter.requires_grad]
        self._handles = [p.register_hook(partial(self._arrived, p)) for p in self._parameters]
        self._handles += [
            layer.register_forward_hook(_Watch(self._first), prepend=True) for layer in layers
        ]

    def unwatch(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles, self._parameters = [], []

    def _arrived(self, parameter: nn.Parameter, gradient: Tensor | None) -> None:
        known = set(_hooks(parameter))
        self._first()
        # Hooks that were put here just now see the next gradients alone.
        for hook in [hook for key, hook in _hooks(parameter).items() if key not in known]:
            hook(gradient)

    def _first(self) -> None:
        if self._under_way() is not None or not self.watching or not self._accumulates():
            return
        ending = _Ending(self._over)
        # The engine forgets its callbacks when a pass fails.
        self._under_way = ref(ending)
        self._begin()
        QUEUE.queue_callback(ending)

    def _accumulates(self) -> bool:
        """Whether the engine is about to add to the gradient of any parameter."""
        leaves = (_accumulator(p) for p in self._parameters if p.requires_grad)
        try:
            known = any(map(torch._C._will_engine_execute_node, leaves))
        except RuntimeError:  # so the engine answers within autograd.grad for parameters
            return False
        # Re-entrant checkpointing hides the parameters, and is possible in such a pass alone.
        return known or bool(QUEUE.is_checkpoint_valid())

    def _over(self) -> None:
        self._under_way = _none
        self._end()


class _Ending:
    """Callback of the engine; the data-parallel wrapper queues its own later in the same pass."""

    def __init__(self, over: Call) -> None:
        self._over = over
        self._behind_others = False

    def __call__(self) -> None:
        """Wait for those that are queued by now, then tell that the pass is over."""
        if self._behind_others:
            self._over()
        else:
            self._behind_others = True
            QUEUE.queue_callback(self)


class _Watch:
    """Forward hook of one layer; copies and pickles of the layer have one that does nothing."""

    def __init__(self, first: Call = lambda: None) -> None:
        self._first = first

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return _Watch, ()

    def __call__(self, layer: nn.Module, args: Any, output: Any) -> None:
        """Wait for the gradient of the output."""
        for tensor in _tensors(output):
            if tensor.requires_grad:
                # Where an in-place operation changes a view, autograd keeps its base's hooks.
                source = tensor if tensor._base is None else tensor._base
                source.register_hook(lambda _: self._first())


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, (Mapping, list, tuple)):
        for value in output.values() if isinstance(output, Mapping) else output:
            yield from _tensors(value)


def _accumulator(parameter: nn.Parameter) -> Any:
    """The node of the graph that adds to the gradient."""
    with torch.enable_grad():
        node: Any = parameter.view_as(parameter).grad_fn
    return node.next_functions[0][0]


def _hooks(tensor: Tensor) -> dict[int, Callable[[Tensor | None], Any]]:
    hooks: Any = tensor._backward_hooks
    return hooks or {}


def _none() -> None:
    return None
