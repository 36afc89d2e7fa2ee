r"""What K-FAC adds to a step on a cluster, from the layers of a detector and their owners.

.. math:: t = t_\mathrm{every} + \frac{t_\mathrm{measuring}}{\text{statistics interval}}
              + \frac{t_\mathrm{inverting}}{\text{inverse interval}}

Operations count at one rate, messages as in :mod:`lab.scaling.collectives`, one after another and
none behind the backward pass, as under NCCL. Copies and the start of an operation are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agvm_mm.distributed import SingleProcess
from agvm_mm.kfac import KFAC, KFACLayer
from agvm_mm.kfac.blocks import block_sizes
from agvm_mm.kfac.distribution import inversion_cost, packed_size, preconditioning_cost
from agvm_mm.kfac.measurement import bundle
from agvm_mm.kfac.triangle import rows

from . import collectives
from .cluster import Cluster

Positions = Mapping[str, float]
"""By name of the layer, of one image."""


class Ranks(SingleProcess):
    """As many ranks as a plan is made for; nothing is sent.

    Args:
        size: ranks.
    """

    def __init__(self, size: int) -> None:
        self.size = size


@dataclass(frozen=True)
class Operations:
    """Of one rank, multiplications and additions apart.

    Attributes:
        measuring: of a measurement, the products of inputs and of gradients.
        every: of every update, the products of gradients with solutions, on the busiest rank.
        inverting: of an inversion, on the busiest rank.
    """

    measuring: float
    every: float
    inverting: float


def count_operations(kfac: KFAC, positions: Positions, images: float) -> Operations:
    """Of one rank with so many images."""
    every, inverting = [0.0] * kfac.ranks, [0.0] * kfac.ranks
    for layer in kfac.layers:
        shapes = layer.helper.shapes
        inverting[layer.owner] += 2 * inversion_cost(shapes)
        every[layer.owner] += 2 * preconditioning_cost(shapes)
    return Operations(
        measuring=sum(_products(x) * positions.get(x.name, 0) for x in kfac.layers) * images,
        every=max(every) if kfac.settings.sends_gradients else sum(every),
        inverting=max(inverting),
    )


def _products(layer: KFACLayer) -> float:
    """Operations at one position: half of every block's square, and what the cut of it adds."""
    if len(layer.helper.shapes) == 1:
        return 0.0
    total = 0
    for shape in layer.helper.shapes:
        sizes = block_sizes(shape) if len(shape) == 3 else []
        triangles = sum((b - a) * b for size in sizes for a, b in rows(size))
        total += 2 * shape[0] * (triangles if sizes else shape[1])
    return float(total)


@dataclass(frozen=True)
class KFACCost:
    """Seconds that K-FAC adds.

    Attributes:
        every: to every update.
        measuring: further to one that measures.
        inverting: further to one that inverts.
        mean: to an update on average.
    """

    every: float
    measuring: float
    inverting: float
    mean: float


def kfac_cost(
    cluster: Cluster, kfac: KFAC, positions: Positions, images: float, rate: float
) -> KFACCost:
    """For the ranks, intervals and options of ``kfac``.

    Args:
        cluster: where.
        kfac: made with :class:`Ranks`.
        positions: of every layer's outputs.
        images: on a GPU.
        rate: operations a second of a GPU, in the precision of the factors.
    """
    gpus, layers, settings = kfac.ranks, kfac.layers, kfac.settings
    work = count_operations(kfac, positions, images)

    def gathered(sizes: Mapping[KFACLayer, float]) -> float:
        """One message for each owner."""
        owners = {layer.owner for layer in layers}
        return sum(
            collectives.to_root(cluster, gpus, sum(sizes[x] for x in layers if x.owner == owner))
            for owner in owners
        )

    every, inverting = work.every / rate, work.inverting / rate
    if settings.sends_gradients:
        every += gathered({x: 4 * sum(p.numel() for p in x.parameters) for x in layers})
    else:
        inverting += gathered({x: 4 * x.pack_size for x in layers})
    inverting += collectives.all_reduce(cluster, gpus, 8 * len(layers))
    item = 2 if settings.half else 4
    packed = {x: item * packed_size(x.helper.shapes) for x in layers}
    measuring = work.measuring / rate + sum(
        collectives.to_root(cluster, gpus, sum(packed[x] for x in message))
        for message in bundle(layers[::-1], item)
    )
    measuring += sum(
        collectives.all_reduce(cluster, gpus, 8 * count * len(layers)) for count in (1, 4)
    )
    mean = every + measuring / settings.statistics_interval + inverting / settings.inverse_interval
    return KFACCost(every, measuring, inverting, mean)
