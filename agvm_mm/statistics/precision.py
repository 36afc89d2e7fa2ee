r"""Standard error of a ratio of averages.

With K independent estimates of a numerator :math:`n_t` and a denominator :math:`d_t`, of weights
:math:`w_t`, the delta method gives

.. math::
   \hat\varphi = \frac{\sum_t w_t n_t}{\sum_t w_t d_t}, \qquad
   \mathrm{se}^2 = \frac{k}{k - 1}
       \frac{\sum_t w_t^2 (n_t - \hat\varphi d_t)^2}{(\sum_t w_t d_t)^2}, \qquad
   k = \frac{(\sum_t w_t)^2}{\sum_t w_t^2}

where k is the effective number of estimates. Drift of :math:`\varphi` inside the window is part of
the spread.

Source: Cochran, "Sampling Techniques", 1977, chapter 6; Kish, 1965, for k.
"""

from __future__ import annotations

import torch
from torch import Tensor


def ratio_of_means(numerator: Tensor, denominator: Tensor) -> tuple[Tensor, Tensor]:
    """The ratio of averages with equal weights, and its standard error; both (M,).

    Args:
        numerator: (K, M), float64.
        denominator: (K, M), float64. Rows in which both parts are 0 are no estimates.

    Returns:
        The ratio is NaN without any estimate, the error with fewer than two.
    """
    total = denominator.sum(0)
    ratio = numerator.sum(0) / total
    count = (denominator != 0).sum(0).double()
    spread = (numerator - ratio * denominator).square().sum(0)
    error = torch.sqrt(spread * count / (count - 1)) / total
    return ratio, torch.where(count > 1, error, torch.nan)


def effective_estimates(estimates: Tensor, momentum: float) -> Tensor:
    r"""K of a moving average after T estimates, (M,).

    .. math:: k = \frac{(1 - m^T)(1 + m)}{(1 + m^T)(1 - m)}
    """
    past = momentum**estimates
    return (1 - past) * (1 + momentum) / ((1 + past) * (1 - momentum))
