"""Work of one step divided over the data-parallel ranks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.distributed as dist
from torch import Tensor


def assign(costs: Sequence[int], ranks: int) -> list[int]:
    """The rank of every piece of work: the largest first, each to the rank with the least work."""
    loads = [0] * ranks
    owners = [0] * len(costs)
    for piece in sorted(range(len(costs)), key=lambda i: -costs[i]):
        owners[piece] = loads.index(min(loads))
        loads[owners[piece]] += costs[piece]
    return owners


def ranks() -> int:
    """Processes that train together; 1 without ``torch.distributed``."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def computed_by_share(
    compute: Callable[[list[int]], list[Tensor]],
    costs: Sequence[int],
    shapes: Sequence[torch.Size],
    dtype: torch.dtype,
    device: torch.device,
) -> list[Tensor]:
    """Results of all pieces, each computed on one rank; the same bits on every rank.

    The ranks fill their parts of one vector of zeros, which one collective adds up. Adding zeros is
    exact.

    Args:
        compute: From the numbers of some pieces to their results.
        costs: Of every piece, in any unit.
        shapes: Of every result.
        dtype: In which results travel.
        device: Where they are.
    """
    owners = assign(costs, ranks())
    mine = [i for i, owner in enumerate(owners) if owner == dist.get_rank()]
    flat = torch.zeros(sum(shape.numel() for shape in shapes), dtype=dtype, device=device)
    parts = flat.split([shape.numel() for shape in shapes])
    results = [part.view(shape) for part, shape in zip(parts, shapes)]
    torch._foreach_copy_([results[i] for i in mine], compute(mine))
    dist.all_reduce(flat)
    return results
