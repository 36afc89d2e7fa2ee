r"""95 % intervals: that of phi, and those of everything else as its images.

The logarithm of a ratio of averages is closer to Student's t than the ratio itself, which a few
estimates skew. With the standard error of :math:`\varphi` and the effective number k of estimates,

.. math::
   \varphi_\pm = \varphi\, e^{\pm t_{k - 1}\, \mathrm{se} / \varphi}, \qquad
   B_\mathrm{simple}(\varphi) = \frac{b}{2}\, \frac{\varphi}{1 - \varphi}, \qquad
   \mu = \sqrt{\varphi_a / \varphi_i} .

The noise scale grows with phi, so the equation turns the ends of phi into its ends. The logarithm
of a scale is half a difference of two: each end adds the squares of the two distances that move it
that way, which is a little wide for fewer than 5 estimates.

Source: Cochran, "Sampling Techniques", 1977, chapter 6, for the standard error; Zou and Donner,
"Construction of confidence limits about effect measures", 2008, for the scale.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .quantiles import student_quantile

Numbers = NDArray[np.float64]
Ends = tuple[Numbers, Numbers]
"""Lower and upper ends."""

quiet = np.errstate(all='ignore')  # a division by 0 has a meaning here: no signal, no end


@quiet
def phi_ends(phi: ArrayLike, error: ArrayLike, count: ArrayLike) -> Ends:
    """The interval of phi; NaN where there is no error.

    Args:
        phi: averaged normalised variance.
        error: its standard error.
        count: effective number of estimates.
    """
    value = np.asarray(phi, np.float64)
    spread = np.exp(student_quantile(count) * np.asarray(error, np.float64) / value)
    return value / spread, value * spread


@quiet
def noise_scale(phi: ArrayLike, images: ArrayLike) -> Numbers:
    """Noise scale in images of a phi measured at a batch of ``images``; infinite from 1 on."""
    value = np.asarray(phi, np.float64)
    found = np.asarray(images, np.float64) / 2 * value / (1 - value)
    return np.where(value < 1, found, np.where(np.isnan(value), np.nan, np.inf))


@quiet
def scale_ends(scale: ArrayLike, anchor: tuple[Numbers, ...], module: tuple[Numbers, ...]) -> Ends:
    """The interval of a scale.

    Args:
        scale: sqrt(phi of the anchor / phi of the module).
        anchor: phi of the anchor, its lower and its upper end.
        module: the same of the module.
    """
    (phi_a, low_a, high_a), (phi_i, low_i, high_i) = anchor, module
    value = np.asarray(scale, np.float64)
    down = np.hypot(np.log(phi_a / low_a), np.log(high_i / phi_i)) / 2
    up = np.hypot(np.log(high_a / phi_a), np.log(phi_i / low_i)) / 2
    return value * np.exp(-down), value * np.exp(up)
