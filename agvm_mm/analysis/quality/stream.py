"""Normalised variance and factors at very many sample gradients, in the memory of a few."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...gradients.norms import squared_norms
from ...statistics import FactorConfig, ModulePartition, moment_estimate, noise_scale
from ...statistics.factors import target_factors


@dataclass(frozen=True)
class Level:
    """All modules at one N; lists (M,).

    Args:
        samples: N.
        blocks: estimates that were averaged, each from its own N samples.
        phi: numerators and denominators averaged first.
        predicted: phi that the noise scale of the first level gives for this N.
        factors: targets of these phi.
        noise_scale: in sample gradients.
    """

    samples: int
    blocks: int
    phi: list[float]
    predicted: list[float]
    factors: list[float]
    noise_scale: list[float]


class _Block:
    """Sums over N samples, then an estimate, then over again."""

    def __init__(self, samples: int, partition: ModulePartition) -> None:
        self.samples = samples
        self.blocks = 0
        self._partition = partition
        self._mean = [torch.zeros_like(p) for p in partition.parameters]
        self._squares = torch.zeros(len(partition), dtype=torch.float64)
        self._seen = 0
        self.numerator = torch.zeros_like(self._squares)
        self.denominator = torch.zeros_like(self._squares)

    def add(self, gradient: Sequence[Tensor], squares: Tensor) -> None:
        torch._foreach_add_(self._mean, list(gradient), alpha=1 / self.samples)
        self._squares += squares
        self._seen += 1
        if self._seen == self.samples:
            self._close()

    def _close(self) -> None:
        b = self._partition.sum(squared_norms(self._mean, self._squares.device))
        found = moment_estimate(self._squares / self.samples, b, self.samples)
        self.numerator += found.numerator
        self.denominator += found.denominator
        self.blocks += 1
        self._seen = 0
        self._squares.zero_()
        torch._foreach_zero_(self._mean)


def measure_levels(
    gradients: Iterable[Sequence[Tensor]],
    partition: ModulePartition,
    levels: Sequence[int],
    config: FactorConfig,
) -> list[Level]:
    """One pass over the sample gradients; every N of ``levels`` gets as many blocks as fit.

    Args:
        gradients: at least the largest of ``levels``, one tensor a parameter.
        partition: of the parameters.
        levels: the N, smallest first.
        config: anchor and clamp of the factors.
    """
    blocks = [_Block(samples, partition) for samples in levels]
    for gradient in gradients:
        squares = partition.sum(squared_norms(gradient, partition.module_of.device))
        for block in blocks:
            block.add(gradient, squares)
    first = blocks[0].numerator / blocks[0].denominator
    scale = noise_scale(first, blocks[0].samples)
    return [_level(block, scale, config) for block in blocks]


def _level(block: _Block, scale: Tensor, config: FactorConfig) -> Level:
    phi = block.numerator / block.denominator
    return Level(
        block.samples,
        block.blocks,
        phi.tolist(),
        (1 / (1 + block.samples / (2 * scale))).tolist(),
        target_factors(phi, config).tolist(),
        noise_scale(phi, block.samples).tolist(),
    )
