"""Statistics from the ordinary forward and backward pass, by hooks.

A forward hook puts a hook on the layer's *output tensor*, and everything is measured when the
gradient of that output arrives. So a call counts exactly once, if and only if it contributes to the
loss: with an activation that overwrites the output, with several calls of one layer, with
activation checkpointing of either kind, in a branch that the loss does not use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .layers import Layer

Sent = Callable[[int], None]


class _Idle:
    """What a copy or a pickle of the network gets in the place of :class:`_Watch`."""

    def __call__(self, *_: Any) -> None:
        """Do nothing."""


class _Watch:
    """Forward hook of one layer."""

    def __init__(self, capture: Capture, index: int) -> None:
        self._capture = capture
        self._index = index

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> None:
        """Note the call if it may contribute to the loss."""
        if isinstance(output, Tensor) and output.requires_grad:
            (inputs,) = (*args, *kwargs.values())
            self._capture.called(self._index, inputs, output)

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return _Idle, ()


class Capture:
    """Sums of the factors over the backward passes of one optimizer update.

    Args:
        layers: what to watch.

    Attributes:
        due: of every layer, whether the present update measures it.
        totals: the sums so far; None for a layer that no gradient has reached.
        positions: of every layer.
        images: of all passes.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._layers = layers
        self.due = [False] * len(layers)
        self._passes = self._count = 0
        self._gain = 0.0
        self._sent: set[int] = set()
        self.reset()
        for index, layer in enumerate(layers):
            # Before the hooks of others, which may put something else in the output's place.
            layer.module.register_forward_hook(_Watch(self, index), prepend=True, with_kwargs=True)

    @property
    def complete(self) -> bool:
        """Whether all passes of the update were seen: not after a resume in mid-update."""
        return self._passes == self._count > 0

    def reset(self) -> None:
        """Forget the last update."""
        self.totals: list[list[Tensor] | None] = [None] * len(self._layers)
        self.positions = [0] * len(self._layers)
        self.images = 0
        self._passes = self._count = 0
        self._sent = set()

    @contextmanager
    def watch(
        self, index: int, count: int, images: int, loss_scale: float, sent: Sent | None
    ) -> Iterator[None]:
        """Around backward pass ``index`` of the ``count`` of this update, over ``images`` images.

        Args:
            index: from 0.
            count: passes in the update; each one's loss is divided by it.
            images: of this rank in this pass; a mean over them is the loss.
            loss_scale: what the loss was multiplied with for mixed precision.
            sent: called in the last pass with every layer whose sums are complete; it takes them.
        """
        if index == 0:
            self.reset()
            self._count = count
        elif index != self._passes:
            yield
            return
        handles = []
        if sent is not None and index + 1 == count:
            handles = [
                layer.parameters[0].register_post_accumulate_grad_hook(partial(self._done, i, sent))
                for i, layer in enumerate(self._layers)
                if self.due[i] and layer.parameters[0].requires_grad
            ]
        self._gain = images * count / loss_scale
        try:
            yield
        finally:
            self._gain = 0.0
            for handle in handles:
                handle.remove()
        self._passes += 1
        self.images += images

    def called(self, index: int, inputs: Tensor, output: Tensor) -> None:
        """A layer was called; measure it when the gradient of its output arrives."""
        if self.due[index]:
            context = self._layers[index].context(inputs.detach())
            # Autograd drops the hooks on a view that is changed in place, as an in-place ReLU does
            # to the output of a Linear on three dimensions, and keeps those on its base.
            source = output if output._base is None else output._base
            source.register_hook(partial(self._arrived, index, context, output.shape))

    @torch.no_grad()
    def _arrived(
        self, index: int, context: Any, shape: torch.Size, gradient: Tensor | None
    ) -> None:
        # A backward pass that is no part of the update; a SyncBN behind it whose input was empty.
        if self._gain == 0.0 or gradient is None:
            return
        layer = self._layers[index]
        if index in self._sent:
            raise RuntimeError(
                f'{layer.name!r} received its gradient in two parts within one backward pass, as '
                're-entrant activation checkpointing of a shared layer makes it: use '
                'use_reentrant=False there, or optim_wrapper.kfac=dict(overlap=False).'
            )
        totals = self.totals[index]
        if totals is None:
            totals = [gradient.new_zeros(shape, dtype=layer.dtype) for shape in layer.shapes]
            self.totals[index] = totals
        with torch.autocast(gradient.device.type, enabled=False):
            scaled = gradient.reshape(shape).to(layer.dtype) * self._gain
            self.positions[index] += layer.add(totals, context, scaled)

    def _done(self, index: int, sent: Sent, parameter: nn.Parameter) -> None:
        self._sent.add(index)
        sent(index)
