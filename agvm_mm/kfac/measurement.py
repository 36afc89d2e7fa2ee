"""Sums of the factors from all ranks to the rank that owns the layer, and into its averages.

Every message holds layers of one owner, so that no padding goes over the wire: together they are
the reduce-scatter of the published scheme. They start during the backward pass, as soon as the sums
of a message are complete, and always in the same order, whatever the order of autograd on a rank.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..distributed import Communicator, Pending
from .blocks import blocks
from .distribution import pack, packed_size, split_packed, unpack
from .layer import KFACLayer
from .triangle import mirror

MESSAGE = 25 * 2**20
"""Bytes from which a message is sent: as DDP's buckets, long enough that latency does not count."""
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
        self._messages: list[list[KFACLayer]] = []
        self._flying: list[tuple[list[KFACLayer], Tensor, Pending]] = []

    def begin(self) -> None:
        """Before the last backward pass of an update: the messages, in the order of sending."""
        due = [layer for layer in reversed(self._layers) if layer.due]
        item = 2 if self._half else None
        self._messages = bundle(due, item)
        self._ready, self._flying = {}, []

    def send(self, layer: KFACLayer) -> None:
        """The sums of a layer are complete; they leave with all of its message, in order."""
        self._ready[layer] = pack(layer.take_sums())
        if not self._half:
            self._launch()

    def finish(self, update: int, images: int | None) -> bool | None:
        """Take the sums over all ranks into the factors, unless any of them is not finite.

        Two collectives of a few numbers a layer follow those of the sums, so that all ranks decide
        alike.

        Args:
            update: the present one.
            images: of this rank; None if it has missed a backward pass.

        Returns:
            Whether they count, None if any rank has missed a pass; then nothing has changed on any
            rank.
        """
        sums = self._receive()
        device = self._layers[0].parameters[0].device
        seen = math.nan if images is None else images
        here = [seen, *(layer.positions for layer in self._layers)]
        counts = torch.tensor(here, dtype=torch.float64).to(device, non_blocking=True)
        total, *positions = self._communicator.all_reduce_sum(counts).tolist()
        if math.isnan(total):
            return None
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
        layers = [layer for message in self._messages for layer in message]
        if self._communicator.size == 1:
            return {layer: _whole(layer.take_sums()) for layer in layers}
        for layer in layers:
            if layer not in self._ready:
                self._ready[layer] = pack(layer.take_sums())
        scales = self._scale(layers) if self._half else {}
        self._launch()
        sums = {}
        for message, vector, work in self._flying:
            work.wait()
            if not message[0].owned:
                continue
            sizes = [packed_size(layer.helper.shapes) for layer in message]
            for layer, part in zip(message, vector.split(sizes)):
                part = part.to(layer.helper.dtype)
                sums[layer] = unpack(part / scales[layer] if scales else part, layer.helper.shapes)
        self._flying = []
        return sums

    def _launch(self) -> None:
        while self._messages and all(layer in self._ready for layer in self._messages[0]):
            message = self._messages.pop(0)
            vector = torch.cat([self._ready.pop(layer) for layer in message])
            work = self._communicator.start_reduce(vector, message[0].owner)
            self._flying.append((message, vector, work))

    def _scale(self, layers: Sequence[KFACLayer]) -> dict[KFACLayer, Tensor]:
        """Turn all messages to float16; by layer, what each number was multiplied with."""
        split = {x: split_packed(self._ready[x], x.helper.shapes) for x in layers}
        parts = [part for layer in layers for part in split[layer]]
        if not parts:
            return {}
        largest = torch.stack([part.abs().max().double() for part in parts])
        largest = self._communicator.all_reduce_max(largest)
        # Not finite stays as it is, to be found after the reduction; zero needs no scale.
        usable = largest.isfinite() & (largest > 0)
        scales = iter(torch.where(usable, HALF_RANGE / self._communicator.size / largest, 1.0))
        by_layer = {}
        for layer in layers:
            by_layer[layer] = torch.cat(
                [next(scales).to(part.dtype).expand_as(part) for part in split[layer]]
            )
            self._ready[layer] = (self._ready[layer] * by_layer[layer]).half()
        return by_layer


def bundle(layers: Sequence[KFACLayer], item: int | None = None) -> list[list[KFACLayer]]:
    """Messages of layers with one owner, in the order in which they are complete.

    Args:
        layers: in the order in which their sums are.
        item: bytes of a number; None for those of the layers.
    """
    found: list[list[KFACLayer]] = []
    open_: dict[int, list[KFACLayer]] = {}
    sizes: dict[int, int] = {}
    for layer in layers:
        owner, size = layer.owner, packed_size(layer.helper.shapes)
        open_.setdefault(owner, []).append(layer)
        sizes[owner] = sizes.get(owner, 0) + size * (item or layer.helper.dtype.itemsize)
        if sizes[owner] >= MESSAGE:
            found.append(open_.pop(owner))
            del sizes[owner]
    order = {layer: i for i, layer in enumerate(layers)}
    return found + sorted(open_.values(), key=lambda message: order[message[-1]])


def _whole(sums: list[Tensor]) -> list[Tensor]:
    for total in sums:
        for block in blocks(total) if total.ndim == 3 else ():
            mirror(block)
    return sums
