"""Sums of the factors from all ranks to the rank that owns the layer, and into its averages.

One asynchronous reduction for every layer, so that no padding goes over the wire: together they are
the reduce-scatter of the published scheme. They start during the backward pass, as soon as the sums
of a layer are complete, and always in the same order, whatever the order of autograd on a rank.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..distributed import Communicator, Pending
from .blocks import blocks
from .distribution import pack, split_packed, unpack
from .layer import KFACLayer
from .triangle import mirror

HALF_RANGE = 2.0**15
"""The sum over ranks of the largest entry becomes at most this; float16 ends at 65,504."""


class Measurement:
    """Sends packed sums, and decides with all ranks whether they count.

    Args:
        layers: of the network.
        communicator: the ranks.
        half: send float16, scaled by the largest entry of all ranks.
    """

    def __init__(self, layers: Sequence[KFACLayer], communicator: Communicator, half: bool) -> None:
        self._layers = layers
        self._communicator = communicator
        self._half = half and communicator.size > 1
        self._ready: dict[KFACLayer, Tensor] = {}
        self._order: list[KFACLayer] = []
        self._flying: list[tuple[KFACLayer, Tensor, Pending]] = []

    def begin(self) -> None:
        """Before the last backward pass of an update: the layers that will be sent, last first."""
        self._order = [layer for layer in reversed(self._layers) if layer.due]
        self._ready, self._flying = {}, []

    def send(self, layer: KFACLayer) -> None:
        """The sums of a layer are complete; they leave when all before them have left."""
        self._ready[layer] = pack(layer.take_sums())
        if not self._half:
            self._launch()

    def finish(self, update: int, images: int) -> bool:
        """Take the sums over all ranks into the factors, unless any of them is not finite.

        Two collectives of a few numbers a layer follow those of the sums, so that all ranks decide
        alike.

        Args:
            update: the present one.
            images: of this rank.

        Returns:
            Whether they count; else nothing has changed on any rank.
        """
        sums = self._receive()
        device = self._layers[0].parameters[0].device
        here = [images, *(layer.positions for layer in self._layers)]
        counts = torch.tensor(here, dtype=torch.float64).to(device, non_blocking=True)
        total, *positions = self._communicator.all_reduce_sum(counts).tolist()
        none = counts.new_zeros(4)
        rows = [
            torch.cat([layer.propose(sums[layer], total, calls), none[:1]])
            if layer in sums
            else none
            for layer, calls in zip(self._layers, positions)
        ]
        for i, layer in enumerate(self._layers):
            if layer.due and not layer.measured and positions[i] == 0:
                rows[i] = torch.cat([rows[i][:3], layer.has_gradient()[None]])
        answers = self._communicator.all_reduce_sum(torch.stack(rows)).tolist()
        if any(bad for bad, *_ in answers):
            return False
        for layer, (_, valid, change, gradient) in zip(self._layers, answers):
            if valid:
                layer.accept(update, change)
            elif layer.due and not layer.measured:
                layer.uncalled = gradient > 0
        return True

    def _receive(self) -> dict[KFACLayer, list[Tensor]]:
        """Send the rest, wait for all, and return the sums of this rank's own layers."""
        if self._communicator.size == 1:
            return {layer: _whole(layer.take_sums()) for layer in self._order}
        for layer in self._order:
            if layer not in self._ready:
                self._ready[layer] = pack(layer.take_sums())
        scales = self._scale() if self._half else {}
        self._launch()
        sums = {}
        for layer, message, work in self._flying:
            work.wait()
            if layer.owned:
                message = message.to(layer.helper.dtype)
                if layer in scales:
                    message /= scales[layer]
                sums[layer] = unpack(message, layer.helper.shapes)
        self._flying = []
        return sums

    def _launch(self) -> None:
        while self._order and self._order[0] in self._ready:
            layer = self._order.pop(0)
            message = self._ready.pop(layer)
            work = self._communicator.start_reduce(message, layer.owner)
            self._flying.append((layer, message, work))

    def _scale(self) -> dict[KFACLayer, Tensor]:
        """Turn all messages to float16; by layer, what each number was multiplied with."""
        split = {x: split_packed(self._ready[x], x.helper.shapes) for x in self._order}
        parts = [part for layer in self._order for part in split[layer]]
        if not parts:
            return {}
        largest = torch.stack([part.abs().max().double() for part in parts])
        largest = self._communicator.all_reduce_max(largest)
        # Not finite stays as it is, to be found after the reduction; zero needs no scale.
        usable = largest.isfinite() & (largest > 0)
        scales = iter(torch.where(usable, HALF_RANGE / self._communicator.size / largest, 1.0))
        by_layer = {}
        for layer in self._order:
            by_layer[layer] = torch.cat(
                [next(scales).to(part.dtype).expand_as(part) for part in split[layer]]
            )
            self._ready[layer] = (self._ready[layer] * by_layer[layer]).half()
        return by_layer


def _whole(sums: list[Tensor]) -> list[Tensor]:
    for total in sums:
        for block in blocks(total) if total.ndim == 3 else ():
            mirror(block)
    return sums
