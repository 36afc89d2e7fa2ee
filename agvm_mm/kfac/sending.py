"""What owners send to all ranks: preconditioned gradients or solutions, one message an owner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..distributed import Communicator
from .layer import KFACLayer


def from_owners(
    vectors: Mapping[KFACLayer, Tensor], communicator: Communicator
) -> dict[KFACLayer, Tensor]:
    """The owner's vector of every layer, on all ranks.

    One broadcast for each owner: a gather of equal parts would send the padding too, which with
    more ranks than owners is nearly everything.

    Args:
        vectors: of the same sizes on all ranks; what other ranks than the owner hold is lost.
        communicator: the ranks.
    """
    flying = []
    for rank in sorted({layer.owner for layer in vectors}):
        mine = [layer for layer in vectors if layer.owner == rank]
        flat = torch.cat([vectors[layer] for layer in mine])
        flying.append((mine, flat, communicator.start_broadcast(flat, rank)))
    found = {}
    for mine, flat, work in flying:
        work.wait()
        for layer, part in zip(mine, flat.split([vectors[x].numel() for x in mine])):
            found[layer] = part.to(vectors[layer].dtype)
    return found


def send_solutions(layers: Sequence[KFACLayer], communicator: Communicator) -> None:
    """Give all ranks the owners' solutions.

    The owner too takes what was sent: of a symmetric inverse one triangle alone is, and all ranks
    must hold the same numbers.
    """
    packed = {layer: layer.pack_solution() for layer in layers}
    for layer, vector in from_owners(packed, communicator).items():
        layer.take_solution(vector)
