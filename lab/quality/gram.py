r"""Inner products of sample gradients, from which every estimate of any subset follows.

With K gradients :math:`g_k` of a module and the Gram matrix :math:`H`, for a group of N of them

.. math::
   H_{jk} = \langle g_j, g_k \rangle, \qquad
   A = \frac1N \sum_k H_{kk}, \qquad B = \frac{1}{N^2} \sum_{jk} H_{jk} .
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from agvm_mm.statistics import (
    ModulePartition,
    VarianceEstimate,
    cosine_estimate,
    moment_estimate,
)

# Columns multiplied at once: a float32 sum of this length is right to 1e-6.
CHUNK = 2**14


def gram_matrices(
    gradients: Iterable[Sequence[Tensor]], count: int, partition: ModulePartition
) -> Tensor:
    """Gram matrices of all modules, shape (M, K, K), float64.

    All K gradients are held at once: 4 K P bytes.

    Args:
        gradients: sample gradients, one tensor a parameter.
        count: K.
        partition: of the parameters.
    """
    store = [torch.empty(count, p.numel()) for p in partition.parameters]
    for k, gradient in enumerate(gradients):
        for rows, part in zip(store, gradient):
            rows[k] = part.flatten()
    total = torch.zeros(len(partition), count, count, dtype=torch.float64)
    for module, rows in zip(partition.module_of.tolist(), store):
        for part in rows.split(CHUNK, dim=1):
            total[module] += (part @ part.T).double()
    return total


def all_pairs(gram: Tensor, groups: Tensor) -> VarianceEstimate:
    """The estimate of every group from all its pairs.

    Args:
        gram: (K, K) of one module.
        groups: (G, N), int64, the samples of each group.

    Returns:
        Tensors of shape (G,).
    """
    samples = groups.shape[1]
    block = gram[groups.unsqueeze(2), groups.unsqueeze(1)]
    a = block.diagonal(dim1=1, dim2=2).mean(1)
    return moment_estimate(a, block.sum((1, 2)) / samples**2, samples)


def half_split(gram: Tensor, groups: Tensor) -> VarianceEstimate:
    """One minus the cosine of the means of a group's halves; as :func:`all_pairs`."""
    samples = groups.shape[1]
    half = samples // 2
    block = gram[groups.unsqueeze(2), groups.unsqueeze(1)]
    square_a = block[:, :half, :half].mean((1, 2))
    square_b = block[:, half:, half:].mean((1, 2))
    dot = block[:, :half, half:].mean((1, 2))
    return cosine_estimate(dot, square_a, square_b, samples)
