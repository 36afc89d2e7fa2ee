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
from torch import Tensor

from ..compat import whole_float32
from .layer import KFACLayer
from .watch import watch


class Capture:
    """Fills the sums of all layers over the backward passes of one optimizer update.

    Args:
        layers: what to watch.
        measures_next: whether the coming backward pass is measured, asked in the forward pass.

    Attributes:
        images: of all passes.
    """

    def __init__(self, layers: Sequence[KFACLayer], measures_next: Callable[[], bool]) -> None:
        self._layers = layers
        self._measures_next = measures_next
        self.images = self._passes = self._count = 0
        self._gain: float | Tensor | None = None  # outside of the backward passes of an update
        self._handles = [
            handle
            for layer in layers
            for handle in watch(
                layer.helper, partial(self._noted, layer), partial(self.called, layer)
            )
        ]

    @property
    def whole(self) -> bool:
        """Whether all measured passes were seen: not after a resume in mid-update."""
        return self._passes == self._count > 0

    def detach(self) -> None:
        """Watch the layers no longer."""
        for handle in self._handles:
            handle.remove()

    def reset(self) -> None:
        """Forget the last update."""
        self.images = self._passes = self._count = 0
        for layer in self._layers:
            layer.forget()

    @contextmanager
    def around_backward(
        self,
        index: int,
        count: int,
        images: int,
        loss_scale: float | Tensor,
        send: Callable[[KFACLayer], None] | None,
    ) -> Iterator[None]:
        """Around the measured pass ``index`` of ``count`` in this update, over ``images`` images.

        Args:
            index: from 0.
            count: measured passes in the update.
            images: of this rank in this pass; a mean over them is the loss.
            loss_scale: what the loss was multiplied by, for mixed precision and accumulation.
            send: called in the last pass with every layer whose sums are complete.
        """
        if index == 0:
            self.reset()
            self._count = count
        elif index != self._passes:
            yield
            return
        handles = []
        if send is not None and index + 1 == count:
            handles = [
                layer.parameters[0].register_post_accumulate_grad_hook(
                    lambda _, layer=layer: send(layer)
                )
                for layer in self._layers
                if layer.due and layer.parameters[0].requires_grad
            ]
        self._gain = images / loss_scale
        try:
            yield
        finally:
            self._gain = None
            for handle in handles:
                handle.remove()
        self._passes += 1
        self.images += images

    def _noted(self, layer: KFACLayer) -> bool:
        return layer.due and self._measures_next()

    def called(self, layer: KFACLayer, inputs: Tensor, output: Tensor, own: slice) -> None:
        """A layer was called; measure it when the gradient of its output arrives.

        Args:
            layer: which.
            inputs: of the call.
            output: of the call.
            own: the entries of its last dimension that are the layer's.
        """
        # Autograd drops the hooks on a view that is changed in place, as an in-place ReLU does to
        # the output of a Linear on three dimensions, and keeps those on its base.
        source = output if output._base is None else output._base
        context = layer.helper.context(inputs.detach())
        source.register_hook(partial(self._arrived, layer, context, output.shape, own))

    @torch.no_grad()
    def _arrived(
        self,
        layer: KFACLayer,
        context: Any,
        shape: torch.Size,
        own: slice,
        gradient: Tensor | None,
    ) -> None:
        # A backward pass that is no part of the update; a SyncBN behind it whose input was empty.
        if self._gain is None or gradient is None:
            return
        if layer.sent:
            raise RuntimeError(
                f'{layer.name!r} received its gradient in two parts within one backward pass, as '
                're-entrant activation checkpointing of a shared layer makes it: use '
                'use_reentrant=False there, or optim_wrapper.kfac=dict(overlap=False).'
            )
        with torch.autocast(gradient.device.type, enabled=False), whole_float32():
            mine = gradient.reshape(shape)[..., own]
            layer.add(context, mine.to(layer.helper.dtype) * self._gain)
