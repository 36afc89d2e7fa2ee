"""Quantiles that make intervals of standard errors."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

NORMAL_95 = 1.959963984540054  # two-sided 95 % quantile of the normal distribution


def student_quantile(count: ArrayLike) -> NDArray[np.float64]:
    """Two-sided 95 % of Student's t for the mean of ``count`` numbers; right to 2 % from 4 on.

    Source: Abramowitz and Stegun, "Handbook of Mathematical Functions", 26.7.5.
    """
    nu, z = np.maximum(np.asarray(count, np.float64) - 1, 1.0), NORMAL_95
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return np.asarray(z + first / nu + second / nu**2 + third / nu**3)
