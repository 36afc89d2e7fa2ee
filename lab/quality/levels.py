"""Normalised variance and scales at very many sample gradients."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from agvm_mm.predict.stream import block_estimates, parts
from agvm_mm.statistics import ModulePartition, ScaleConfig, noise_scale
from agvm_mm.statistics.precision import ratio_of_means
from agvm_mm.statistics.scales import target_scales


@dataclass(frozen=True)
class Level:
    """All modules at one N; lists (M,).

    Args:
        samples: N.
        blocks: estimates that were averaged, each from its own N samples.
        phi: numerators and denominators averaged first.
        predicted: phi that the noise scale of the first level gives for this N.
        scales: targets of these phi.
        noise_scale: in sample gradients.
    """

    samples: int
    blocks: int
    phi: list[float]
    predicted: list[float]
    scales: list[float]
    noise_scale: list[float]


def measure_levels(
    gradients: Iterable[Sequence[Tensor]],
    partition: ModulePartition,
    levels: Sequence[int],
    config: ScaleConfig,
) -> list[Level]:
    """All modules at every N, from one stream of sample gradients.

    Args:
        gradients: at least the largest of ``levels``, one tensor a parameter.
        partition: of the parameters.
        levels: the N, smallest first.
        config: anchor and clamp of the scales.
    """
    found = block_estimates(gradients, partition, levels)
    phis = {samples: ratio_of_means(*parts(blocks))[0] for samples, blocks in found.items()}
    simple = noise_scale(phis[levels[0]], levels[0])
    return [_level(n, len(found[n]), phis[n], simple, config) for n in levels]


def _level(samples: int, blocks: int, phi: Tensor, simple: Tensor, config: ScaleConfig) -> Level:
    return Level(
        samples,
        blocks,
        phi.tolist(),
        (1 / (1 + samples / (2 * simple))).tolist(),
        target_scales(phi, config).tolist(),
        noise_scale(phi, samples).tolist(),
    )
