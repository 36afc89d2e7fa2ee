"""One measurement of the normalised gradient variance of every module."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class VarianceEstimate:
    """What one estimation step found, before any averaging.

    The normalised variance is a ratio of two expectations, so both parts are kept: averaging the
    parts and dividing last is unbiased, averaging the ratio is not.

    Args:
        numerator: shape (M,), float64; proportional to twice the noise of the mean gradient.
        denominator: shape (M,), float64; proportional to the squared norm of a half-batch mean.
        samples: N, the sample gradients that entered.
        images: images that entered, over all ranks; of unequal micro-batches, those of equal ones
            with the same noise; 0 when the model does not tell.
        noise: shape (M,), float64; trace of the covariance of one image's gradient, in the units
            of the denominator; None without ``images``.
    """

    numerator: Tensor
    denominator: Tensor
    samples: int
    images: float
    noise: Tensor | None = None

    @property
    def phi(self) -> Tensor:
        """Normalised variance ``numerator / denominator``; NaN where a module had no gradient."""
        return torch.where(self.valid, self.numerator / self.denominator, torch.nan)

    @property
    def signal(self) -> Tensor:
        """Squared norm of the expected gradient, in the units of the denominator."""
        return self.denominator - self.numerator

    @property
    def valid(self) -> Tensor:
        """Shape (M,), bool: the modules that have a normalised variance on this step."""
        return self.denominator > 0

    @property
    def finite(self) -> bool:
        """False when an infinite or undefined gradient was seen on any rank."""
        return bool(torch.isfinite(self.numerator).all() and torch.isfinite(self.denominator).all())
