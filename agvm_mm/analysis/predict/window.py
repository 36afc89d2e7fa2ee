r"""Noise scales with intervals from a window of estimates, and phi at any other batch.

All follows from one number a module, linear in its signal,

.. math::
   x = \frac1\varphi - 1 = \frac{S}{2 V / N} = \frac{b}{2 B_\mathrm{simple}}, \qquad
   \varphi(b') = \frac{1}{1 + x b' / b}, \qquad B_\mathrm{simple} = \frac{b}{2 x}

for a batch of b images. Its standard error is that of phi over phi squared, and its interval turns
into those of the others because they are monotone. Where it reaches 0 no signal was seen and the
noise scale has no upper bound.

Source: McCandlish et al., 2018, appendix A; the standard error is that of
:mod:`agvm_mm.statistics.precision`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...statistics import VarianceEstimate
from ...statistics.precision import ratio_of_means, student_quantile
from ...statistics.scales import LARGEST_WEIGHT, ScaleConfig, target_scales


@dataclass(frozen=True)
class Window:
    """What a number of estimates say together; tensors (M,), float64.

    Args:
        phi: averaged normalised variance at the batch of the estimates.
        error: its standard error.
        count: estimates that entered, the fewest of any module.
        images: b, images of one estimate.
    """

    phi: Tensor
    error: Tensor
    count: int
    images: float

    @property
    def inverse(self) -> Tensor:
        """x, not below 0."""
        return (1 / self.phi - 1).clamp(min=0)

    def inverse_bounds(self) -> tuple[Tensor, Tensor]:
        """95 % interval of x, not below 0."""
        reach = student_quantile(self.count) * self.error / self.phi.square()
        middle = 1 / self.phi - 1
        return (middle - reach).clamp(min=0), (middle + reach).clamp(min=0)

    def noise_scale(self) -> tuple[Tensor, Tensor, Tensor]:
        """Noise scale in images: estimate, lower and upper end of the 95 % interval."""
        low, high = self.inverse_bounds()
        scale, least, most = (self.images / (2 * x) for x in (self.inverse, high, low))
        return scale, least, most

    def phi_at(self, batch: float) -> tuple[Tensor, Tensor, Tensor]:
        """Phi at ``batch`` images: prediction, lower and upper end of the 95 % interval."""
        ratio = batch / self.images
        low, high = self.inverse_bounds()
        phi, least, most = (1 / (1 + ratio * x) for x in (self.inverse, high, low))
        return phi, least, most

    def scales_at(self, batch: float, config: ScaleConfig) -> tuple[Tensor, Tensor, Tensor]:
        r"""Scale at ``batch`` images: prediction, lower and upper end of the 95 % interval.

        .. math:: \mathrm{se}(\log \mu_i) = \frac12 \sqrt{\mathrm{se}^2(\log \varphi_a(b'))
                  + \mathrm{se}^2(\log \varphi_i(b'))}

        for modules whose errors are independent; where they go together it is a little wide.
        """
        ratio = batch / self.images
        log_error = ratio * self.error / self.phi.square() / (1 + ratio * self.inverse)
        both = (log_error.square() + log_error[config.anchor].square()).sqrt() / 2
        scale = target_scales(self.phi_at(batch)[0], config)
        spread = torch.exp(student_quantile(self.count) * both)
        least, most = (bound**0.5 for bound in config.clamp)
        low, high = (scale / spread).clamp(least, most), (scale * spread).clamp(least, most)
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
    return Window(phi, error, int((parts != 0).sum(0).min()), images)
