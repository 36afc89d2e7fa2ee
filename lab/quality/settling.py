"""How many estimates until a scale has arrived, for both orders of averaging."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from agvm_mm.statistics import ScaleConfig, VarianceEstimate, init_scales, update_scales
from agvm_mm.statistics.scales import target_scales

from .gram import all_pairs, half_split

ESTIMATORS = {'all_pairs': all_pairs, 'half_split': half_split}


@dataclass(frozen=True)
class Settling:
    """One estimator with one order of averaging.

    Args:
        estimator: 'all_pairs' or 'half_split'.
        average: 'moments' or 'scale'.
        limit: scale of each module after endlessly many estimates, (M,).
        estimates: median number of estimates until each scale stays within the band, (M,);
            the horizon where it does not arrive.
    """

    estimator: str
    average: str
    limit: list[float]
    estimates: list[float]


def least_horizon(momentum: float) -> int:
    """Estimates over which an average of this momentum reaches: a settled scale stays as long."""
    return round(1 / (1 - momentum))


def settle(
    gram: Tensor,
    samples: int,
    estimator: str,
    config: ScaleConfig,
    horizon: int,
    streams: int,
    generator: torch.Generator,
    band: float = 0.05,
) -> Settling:
    """Draw streams of estimates at one state of the weights and follow the scales.

    Args:
        gram: (M, K, K).
        samples: N of an estimate.
        estimator: key of :data:`ESTIMATORS`.
        config: anchor, order and momentum of averaging, clamp.
        horizon: estimates in a stream.
        streams: how many.
        generator: of the draws.
        band: relative distance from the limit.

    Raises:
        ValueError: the streams are shorter than :func:`least_horizon`.
    """
    hold = least_horizon(config.momentum)
    if horizon < hold:
        raise ValueError(
            f'{horizon} estimates are too few to see a scale settle at momentum '
            f'{config.momentum:g}: at least {hold} are needed (--horizon).'
        )
    drawn = [_stream(gram, samples, estimator, horizon, generator) for _ in range(streams)]
    limit = _limit(drawn, config)
    arrivals = []
    for stream in drawn:
        inside = (_follow(stream, config) / limit - 1).abs() <= band
        arrivals.append(_arrival(inside, hold))
    median = torch.stack(arrivals).double().median(0).values
    return Settling(estimator, config.average, limit.tolist(), median.tolist())


def _stream(
    gram: Tensor, samples: int, estimator: str, horizon: int, generator: torch.Generator
) -> list[VarianceEstimate]:
    """Estimates of all modules, each from N samples drawn without repetition."""
    count = gram.shape[1]
    groups = torch.stack(
        [torch.randperm(count, generator=generator)[:samples] for _ in range(horizon)]
    )
    found = [ESTIMATORS[estimator](module, groups) for module in gram]
    numerators = torch.stack([estimate.numerator for estimate in found], dim=1)
    denominators = torch.stack([estimate.denominator for estimate in found], dim=1)
    return [VarianceEstimate(n, d, samples, 0) for n, d in zip(numerators, denominators)]


def _limit(streams: list[list[VarianceEstimate]], config: ScaleConfig) -> Tensor:
    """What the average tends to: the mean target, or the target of the mean parts."""
    every = [estimate for stream in streams for estimate in stream]
    if config.average == 'scale':
        return torch.stack([target_scales(estimate.phi, config) for estimate in every]).mean(0)
    numerator = torch.stack([estimate.numerator for estimate in every]).mean(0)
    denominator = torch.stack([estimate.denominator for estimate in every]).mean(0)
    return target_scales(numerator / denominator, config)


def _follow(stream: list[VarianceEstimate], config: ScaleConfig) -> Tensor:
    """Scales after every estimate, shape (horizon, M)."""
    state = init_scales(len(stream[0].numerator))
    scales = []
    for estimate in stream:
        state = update_scales(state, estimate, config)
        scales.append(state.scales)
    return torch.stack(scales)


def _arrival(inside: Tensor, hold: int) -> Tensor:
    """First estimate after which a scale stays inside for ``hold`` estimates, from 1; (M,)."""
    windows = inside.unfold(0, hold, 1).all(-1)
    first = windows.to(torch.int8).argmax(0) + 1
    return torch.where(windows.any(0), first, len(inside))
