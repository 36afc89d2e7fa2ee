"""Every owner inverts its factors; all ranks decide alike which solutions count."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..distributed import Communicator
from .layer import KFACLayer


def invert(layers: Sequence[KFACLayer], communicator: Communicator) -> list[KFACLayer]:
    """Solve the layers anew, each on its owner.

    A solution that fails on its owner is tried once more in the eigenbasis. If that fails too, the
    layer keeps its old solution on all ranks. Called on all ranks with the same layers.

    Returns:
        The layers that have failed, the same on all ranks.
    """
    for thorough in (False, True):
        if layers:
            layers = _attempt(layers, communicator, thorough)
    return list(layers)


def _attempt(
    layers: Sequence[KFACLayer], communicator: Communicator, thorough: bool
) -> list[KFACLayer]:
    flags = torch.stack([layer.solve(thorough) for layer in layers])
    failed = communicator.all_reduce_sum(flags).tolist()
    for layer, bad in zip(layers, failed):
        layer.conclude(not bad)
    return [layer for layer, bad in zip(layers, failed) if bad]
