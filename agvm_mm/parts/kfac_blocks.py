"""K-FAC as the geometry in which gradients are measured."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..kfac import KFAC, KFACLayer
from ..statistics import ModulePartition


class KFACBlocks:
    """P g with the inverses that K-FAC holds, every layer on the rank that owns it.

    A parameter that K-FAC leaves alone steps along its own gradient and is a block of rank 0.

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
        """One block for each layer of this rank; on rank 0 also one for each other parameter."""
        if self._blocks is None:
            self._blocks = self._find()
        return self._blocks

    def apply(self, block: int, gradients: Sequence[Tensor]) -> Tensor | None:
        """P g of a layer; g itself of a parameter that K-FAC leaves alone."""
        layer = self._layers[block]
        return gradients[0] if layer is None else layer.apply(gradients)

    def _find(self) -> list[Sequence[int]]:
        kfac = self._kfac
        position = {id(parameter): i for i, parameter in enumerate(self._partition.parameters)}
        blocks: list[Sequence[int]] = []
        for layer in kfac.layers:
            members = [position.pop(id(parameter)) for parameter in layer.parameters]
            if layer.owned:
                blocks.append(members)
                self._layers.append(layer)
        if kfac.communicator.rank == 0:
            blocks += [[i] for i in position.values()]
            self._layers += [None] * len(position)
        return blocks
