"""Sums of the factors from all ranks to the rank that owns the layer.

One asynchronous reduction for every layer, so that no padding goes over the wire: together they are
the reduce-scatter of the published scheme. They start during the backward pass, as soon as the sums
of a layer are complete, and always in the same order, whatever the order of autograd on a rank.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..distributed import Communicator, Pending
from .layers import Layer
from .packing import pack, packed_size, unpack

HALF_RANGE = 2.0**15
"""The sum over ranks of the largest entry becomes at most this; float16 ends at 65,504."""

Totals = list[Tensor]


class Exchange:
    """Sends packed sums.

    Args:
        layers: of the network.
        owners: rank of every layer.
        communicator: the ranks.
        half: send float16, scaled by the largest entry of all ranks.
    """

    def __init__(
        self, layers: Sequence[Layer], owners: Sequence[int], communicator: Communicator, half: bool
    ) -> None:
        self._layers = layers
        self._owners = owners
        self._communicator = communicator
        self._half = half and communicator.size > 1
        self._ready: dict[int, Tensor] = {}
        self._order: list[int] = []
        self._flying: list[tuple[int, Tensor, Pending]] = []

    def begin(self, due: Sequence[bool]) -> None:
        """Before the last backward pass of an update: the layers that will be sent, last first."""
        self._order = [i for i in reversed(range(len(self._layers))) if due[i]]
        self._ready, self._flying = {}, []

    def offer(self, index: int, totals: Totals | None) -> None:
        """The sums of a layer are complete; they leave when all before them have left."""
        self._ready[index] = self._message(index, totals)
        if not self._half:
            self._launch()

    def finish(self, totals: Sequence[Totals | None]) -> dict[int, Totals]:
        """Send the rest, wait for all, and return the sums of this rank's own layers."""
        for index in self._order:
            if index not in self._ready:
                self._ready[index] = self._message(index, totals[index])
        scales = self._scale() if self._half else {}
        self._launch()
        sums = {}
        for index, message, work in self._flying:
            work.wait()
            if self._owners[index] == self._communicator.rank:
                layer = self._layers[index]
                message = message.to(layer.dtype)
                if index in scales:
                    message /= scales[index]
                sums[index] = unpack(message, layer.shapes)
        self._flying = []
        return sums

    def _message(self, index: int, totals: Totals | None) -> Tensor:
        layer = self._layers[index]
        if totals is not None:
            return pack(totals)
        size = sum(packed_size(shape) for shape in layer.shapes)
        return layer.parameters[0].new_zeros(size, dtype=layer.dtype)

    def _launch(self) -> None:
        while self._order and self._order[0] in self._ready:
            index = self._order.pop(0)
            message = self._ready.pop(index)
            work = self._communicator.start_reduce(message, self._owners[index])
            self._flying.append((index, message, work))

    def _scale(self) -> dict[int, Tensor]:
        """Turn all messages to float16; by layer, what each number was multiplied with."""
        lengths = {
            index: [packed_size(shape) for shape in self._layers[index].shapes]
            for index in self._order
        }
        parts = [p for i in self._order for p in self._ready[i].split(lengths[i])]
        if not parts:
            return {}
        largest = torch.stack([part.abs().max().double() for part in parts])
        largest = self._communicator.all_reduce_max(largest)
        # Not finite stays as it is, to be found after the reduction; zero needs no scale.
        usable = largest.isfinite() & (largest > 0)
        scales = torch.where(usable, HALF_RANGE / self._communicator.size / largest, 1.0)
        by_layer, first = {}, 0
        for index in self._order:
            part = scales[first : first + len(lengths[index])]
            first += len(part)
            repeats = torch.tensor(lengths[index], device=part.device)
            by_layer[index] = part.repeat_interleave(repeats).to(self._layers[index].dtype)
            self._ready[index] = (self._ready[index] * by_layer[index]).half()
        return by_layer
