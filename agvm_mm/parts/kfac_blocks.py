"""K-FAC as the geometry in which gradients are measured."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..kfac import KFAC, KFACLayer
from ..statistics import ModulePartition


class KFACBlocks:
    """P g with the inverses of K-FAC, every layer on the rank that owns it.

    A parameter without K-FAC keeps its own gradient and is a block of rank 0.

    Args:
        kfac: the preconditioner.
        partition: the parameters that are measured.
    """

    def __init__(self, kfac: KFAC, partition: ModulePartition) -> None:
        self._kfac = kfac
        self._partition = partition
        self._blocks: list[Sequence[int]] | None = None
        self._layers: list[KFACLayer | None] = []

    def blocks(self) -> Sequence[Sequence[int]]:
        """Positions of the parameters of this rank's blocks in the partition."""
        if self._blocks is None:
            self._blocks = self._find()
        return self._blocks

    def apply(self, block: int, gradients: Sequence[Tensor]) -> Tensor | None:
        """P g of one block; None before the layer has an inverse."""
        layer = self._layers[block]
        return gradients[0] if layer is None else layer.apply(gradients)

    def _find(self) -> list[Sequence[int]]:
        kfac = self._kfac
        position = {id(parameter): i for i, parameter in enumerate(self._partition.parameters)}
        blocks: list[Sequence[int]] = []
        for layer in kfac.layers:
            if layer.owned:
                blocks.append([position[id(parameter)] for parameter in layer.parameters])
                self._layers.append(layer)
        # The projections of an attention are layers that share a parameter.
        known = {id(parameter) for layer in kfac.layers for parameter in layer.parameters}
        rest = [[i] for key, i in position.items() if key not in known]
        if kfac.communicator.rank == 0:
            blocks += rest
            self._layers += [None] * len(rest)
        return blocks
