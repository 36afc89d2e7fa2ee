r"""Seconds of a collective, from latency and bandwidth (the alpha-beta model).

For n GPUs on k nodes and a message of P bytes, the slower link limits the bandwidth and a message
crosses both kinds of link on its way:

.. math::
   t_\mathrm{ring} &= 2 (n - 1 - h) \alpha_\mathrm{in} + 2 h \alpha_\mathrm{out}
                      + 2 \frac{n - 1}{n} \frac{P}{\beta}, \qquad h = \min(k, n - 1) \\
   t_\mathrm{tree} &= 2 (m - 1) \alpha_\mathrm{in} + 2 \log_2(k) \alpha_\mathrm{out}
                      + 2 \frac{P}{\beta}

with m GPUs on a node and h = 0 on one node. A library picks the cheaper one for each message.

Source: Thakur, Rabenseifner and Gropp, 2005; Sanders, Speck and Traeff, 2009.
"""

from __future__ import annotations

import math

from .cluster import Cluster


def ring(cluster: Cluster, gpus: int, size: float) -> float:
    """All-reduce of ``size`` bytes round a ring."""
    if gpus < 2:
        return 0.0
    nodes = cluster.nodes(gpus)
    crossing = min(nodes, gpus - 1) if nodes > 1 else 0
    hops = (gpus - 1 - crossing) * cluster.inside.latency + crossing * cluster.between.latency
    return 2 * hops + 2 * (gpus - 1) / gpus * size / _bandwidth(cluster, gpus)


def tree(cluster: Cluster, gpus: int, size: float) -> float:
    """All-reduce of ``size`` bytes up and down a pipelined double tree."""
    if gpus < 2:
        return 0.0
    return 2 * _depth(cluster, gpus) + 2 * size / _bandwidth(cluster, gpus)


def all_reduce(cluster: Cluster, gpus: int, size: float) -> float:
    """The cheaper of :func:`ring` and :func:`tree`."""
    return min(ring(cluster, gpus, size), tree(cluster, gpus, size))


def to_root(cluster: Cluster, gpus: int, size: float) -> float:
    """Reduction to one GPU, or broadcast from it: one way along the tree."""
    return 0.0 if gpus < 2 else _depth(cluster, gpus) + size / _bandwidth(cluster, gpus)


def both_ways(cluster: Cluster, gpus: int, size: float) -> float:
    """Two GPUs, as far apart as these ``gpus`` allow, send each other ``size`` bytes.

    One GPU has its share of the node's network alone.
    """
    if gpus < 2:
        return 0.0
    if cluster.nodes(gpus) == 1:
        return cluster.inside.latency + size / cluster.inside.bandwidth
    share = cluster.between.bandwidth / cluster.gpus_per_node
    return cluster.between.latency + size / share


def _bandwidth(cluster: Cluster, gpus: int) -> float:
    if cluster.nodes(gpus) == 1:
        return cluster.inside.bandwidth
    if cluster.gpus_per_node == 1:
        return cluster.between.bandwidth
    return min(cluster.inside.bandwidth, cluster.between.bandwidth)


def _depth(cluster: Cluster, gpus: int) -> float:
    """Seconds of latency from the root of the tree to the farthest GPU."""
    on_node = min(gpus, cluster.gpus_per_node)
    steps = math.log2(cluster.nodes(gpus))
    return (on_node - 1) * cluster.inside.latency + steps * cluster.between.latency
