"""Estimates at very many sample gradients, in the memory of a few."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ..gradients.norms import squared_norms
from ..statistics import ModulePartition, VarianceEstimate, moment_estimate


class _Block:
    """Sums over N samples, then an estimate, then over again."""

    def __init__(self, samples: int, partition: ModulePartition) -> None:
        self.samples = samples
        self.estimates: list[VarianceEstimate] = []
        self._partition = partition
        self._mean = [torch.zeros_like(p) for p in partition.parameters]
        self._squares = partition.sum(squared_norms(self._mean, partition.module_of.device))
        self._seen = 0

    def add(self, gradient: Sequence[Tensor], squares: Tensor) -> None:
        torch._foreach_add_(self._mean, list(gradient), alpha=1 / self.samples)
        self._squares += squares
        self._seen += 1
        if self._seen == self.samples:
            self._close()

    def _close(self) -> None:
        b = self._partition.sum(squared_norms(self._mean, self._squares.device))
        a = self._squares / self.samples
        self.estimates.append(moment_estimate(a.cpu(), b.cpu(), self.samples))
        self._seen = 0
        self._squares.zero_()
        torch._foreach_zero_(self._mean)


def block_estimates(
    gradients: Iterable[Sequence[Tensor]], partition: ModulePartition, levels: Sequence[int]
) -> dict[int, list[VarianceEstimate]]:
    """One pass over the sample gradients; every N of ``levels`` gets as many blocks as fit.

    Args:
        gradients: sample gradients, one tensor a parameter.
        partition: of the parameters.
        levels: the N.

    Returns:
        The estimate of every block, by N.
    """
    blocks = [_Block(samples, partition) for samples in levels]
    for gradient in gradients:
        squares = partition.sum(squared_norms(gradient, partition.module_of.device))
        for block in blocks:
            block.add(gradient, squares)
    return {block.samples: block.estimates for block in blocks}


def parts(estimates: Sequence[VarianceEstimate]) -> tuple[Tensor, Tensor]:
    """Numerators and denominators, (K, M) each."""
    numerators = torch.stack([estimate.numerator for estimate in estimates])
    return numerators, torch.stack([estimate.denominator for estimate in estimates])
