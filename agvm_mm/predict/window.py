"""The window of a number of estimates, and the learning-rate scales that follow from it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from agvm_runs.intervals import Numbers, scale_ends
from agvm_runs.predictions.window import Window

from ..statistics import VarianceEstimate
from ..statistics.precision import ratio_of_means
from ..statistics.scales import LARGEST_WEIGHT, ScaleConfig, target_scales


def scales_at(
    window: Window, batch: float, config: ScaleConfig
) -> tuple[Numbers, Numbers, Numbers]:
    """Scale at ``batch`` images: prediction, lower and upper end of the 95 % interval.

    The interval is for modules whose errors are independent; where they go together it is a little
    wide.
    """
    phi = window.phi_at(batch)
    scale = target_scales(torch.from_numpy(phi[0]), config).numpy()
    of_anchor = tuple(column[config.anchor] for column in phi)
    least, most = (bound**0.5 for bound in config.clamp)
    low, high = (end.clip(least, most) for end in scale_ends(scale, of_anchor, phi))
    low[config.anchor] = high[config.anchor] = 1.0
    return scale, low, high


def summarise(estimates: Sequence[VarianceEstimate], images: float | None = None) -> Window:
    """The window of these estimates, in their order.

    As in training, an estimate is divided by the denominator of the one before, so that each
    counts about the same while gradients shrink or burst.

    Args:
        estimates: finite ones.
        images: b; None for what the estimates say.
    """
    unit: Tensor | None = None
    numerators, denominators = [], []
    for estimate in estimates:
        present = torch.where(estimate.valid, estimate.denominator, torch.nan)
        before = present if unit is None else torch.where(unit.isnan(), present, unit)
        unit = torch.maximum(before, present / LARGEST_WEIGHT)
        numerators.append((estimate.numerator / unit).nan_to_num(nan=0.0))
        denominators.append((estimate.denominator / unit).nan_to_num(nan=0.0))
        unit = torch.where(estimate.valid, present, before)
    parts = torch.stack(denominators)
    phi, error = ratio_of_means(torch.stack(numerators), parts)
    if images is None:
        images = sum(estimate.images for estimate in estimates) / len(estimates)
    return Window(phi.numpy(), error.numpy(), int((parts != 0).sum(0).min()), images)
