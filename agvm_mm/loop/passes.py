"""Backward passes, told apart in a loop that says nothing about them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

QUEUE: Any = torch.autograd.Variable._execution_engine  # type: ignore[attr-defined]


class BackwardPasses:
    """Calls back at the first gradient of every backward pass and at its end.

    While it watches, a hook on every parameter sees which gradient is the first. The end is a
    callback of the autograd engine, behind those of the data-parallel wrapper, so that gradients
    are averaged by then.

    Args:
        begin: called before any parameter of the pass has its gradient.
        end: called when the pass is over, unless it failed.
    """

    def __init__(self, begin: Callable[[], None], end: Callable[[], None]) -> None:
        self._begin = begin
        self._end = end
        self._pass = -1
        self._handles: list[RemovableHandle] = []

    @property
    def watching(self) -> bool:
        """Whether any hook is in place."""
        return bool(self._handles)

    def watch(self, parameters: Iterable[nn.Parameter], layers: Iterable[nn.Module]) -> None:
        """Put the hooks in place.

        Args:
            parameters: of the network.
            layers: whose outputs' gradients arrive before those of the parameters, and may be the
                first that a part wants to see.
        """
        for parameter in parameters:
            if parameter.requires_grad:
                self._hook(parameter)
        self._handles += [
            layer.register_forward_hook(_Watch(self._first), prepend=True) for layer in layers
        ]

    def unwatch(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _hook(self, tensor: Tensor) -> None:
        self._handles.append(tensor.register_hook(partial(self._arrived, tensor)))

    def _arrived(self, tensor: Tensor, gradient: Tensor | None) -> None:
        known = set(_hooks(tensor))
        self._first()
        # Hooks that were put here just now see the next gradients alone.
        for hook in [hook for key, hook in _hooks(tensor).items() if key not in known]:
            hook(gradient)

    def _first(self) -> None:
        now = torch._C._current_graph_task_id()
        if now == self._pass or not self.watching:
            return
        self._pass = now
        self._begin()
        # The data-parallel wrapper queues its own callback later, in the same pass.
        QUEUE.queue_callback(lambda: QUEUE.queue_callback(self._end))


class _Watch:
    """Forward hook of one layer; copies and pickles of the layer have one that does nothing."""

    def __init__(self, first: Callable[[], None] = lambda: None) -> None:
        self._first = first

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return _Watch, ()

    def __call__(self, layer: nn.Module, args: Any, output: Any) -> None:
        """Wait for the gradient of the output."""
        if isinstance(output, Tensor) and output.requires_grad:
            # Where an in-place operation changes a view, autograd keeps the hooks of its base.
            source = output if output._base is None else output._base
            source.register_hook(lambda _: self._first())


def _hooks(tensor: Tensor) -> dict[int, Callable[[Tensor | None], Any]]:
    found: dict[int, Callable[[Tensor | None], Any]] = tensor._backward_hooks or {}  # type: ignore[assignment]
    return found
