r"""Moving averages of the factors, each on the rank that owns the layer.

.. math:: \bar F \leftarrow m \bar F + (1 - m) F, \qquad \bar F = F \text{ the first time.}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..gradients.communicator import Communicator
from .damping import diagonal
from .layers import Layer


class Averages:
    """The factors, and the decision on all ranks whether a measurement counts.

    Args:
        layers: of the network.
        owners: rank of every layer.
        communicator: the ranks.
        momentum: weight of the past.

    Attributes:
        factors: of this rank's layers; None elsewhere and before the first measurement.
        measured: of every layer, whether its owner has factors.
        called: of every layer, whether any rank used it in the last measurement.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        owners: Sequence[int],
        communicator: Communicator,
        momentum: float,
    ) -> None:
        self._layers = layers
        self._owners = owners
        self._communicator = communicator
        self._momentum = momentum
        self._device = layers[0].parameters[0].device
        self.factors: list[list[Tensor] | None] = [None] * len(layers)
        self.measured = [False] * len(layers)
        self.called = [False] * len(layers)

    def update(
        self, sums: Mapping[int, list[Tensor]], positions: Sequence[int], images: int
    ) -> list[float | None] | None:
        """Take sums over all ranks into the averages; two collectives of one number a layer.

        A layer that no rank has used, or whose gradients are all zero, keeps its factors.

        Args:
            sums: of this rank's layers.
            positions: of every layer on this rank.
            images: of this rank.

        Returns:
            Of every layer the relative change of its factors, None where it keeps them; None for
            all when any sum is not finite, and then nothing has changed on any rank.
        """
        counts = self._reduced([float(images), *map(float, positions)])
        self.called = [count > 0 for count in counts[1:]]
        found = {
            index: self._layers[index].divide(total, counts[0], counts[1 + index])
            for index, total in sums.items()
            if counts[1 + index] > 0
        }
        new, changes = {}, [0.0] * len(self._layers)
        valid, bad = [0.0] * len(self._layers), 0.0
        for index, factors in found.items():
            traces = [diagonal(factor).sum() for factor in factors]
            finite = all(factor.sum().isfinite() for factor in factors)
            bad += float(not finite)
            if finite and all(trace > 0 for trace in traces):
                new[index] = self._averaged(index, factors)
                changes[index] = self._change(index, new[index])
                valid[index] = 1.0
        result = self._reduced([bad, *valid, *changes])
        if result[0] != 0:
            return None
        for index, factors in new.items():
            self.factors[index] = factors
        count = len(self._layers)
        answer: list[float | None] = [None] * count
        for index in range(count):
            if result[1 + index]:
                self.measured[index] = True
                answer[index] = result[1 + count + index]
        return answer

    def _averaged(self, index: int, factors: list[Tensor]) -> list[Tensor]:
        before = self.factors[index]
        if before is None:
            return factors
        # Not in place: a measurement that is found bad elsewhere must leave no trace.
        return [torch.lerp(new, old, self._momentum) for new, old in zip(factors, before)]

    def _change(self, index: int, factors: list[Tensor]) -> float:
        before = self.factors[index]
        if before is None:
            return 1.0
        ratios = [_length(new - old) / _length(old) for new, old in zip(factors, before)]
        return float(max(ratios))

    def _reduced(self, values: list[float]) -> list[float]:
        vector = torch.tensor(values, dtype=torch.float64, device=self._device)
        numbers: list[float] = self._communicator.all_reduce_sum(vector).tolist()
        return numbers


def _length(factor: Tensor) -> Tensor:
    # Squares of factors that are large but finite would overflow in float32.
    length: Tensor = torch.linalg.vector_norm(factor, dtype=torch.float64)
    return length
