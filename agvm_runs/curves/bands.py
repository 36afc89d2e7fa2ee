r"""95 % bands of the logged curves, from the standard error of phi that a run logs.

With :math:`x = 1/\varphi - 1` and :math:`\delta = 1.96\, \mathrm{se} / \varphi^2`,

.. math::
   \varphi \pm 1.96\, \mathrm{se}, \qquad
   B_\mathrm{simple} \frac{x}{x \pm \delta}, \qquad
   \mu_i \exp\left(\pm \frac{1.96}{2} \sqrt{\frac{\mathrm{se}_a^2}{\varphi_a^2}
                   + \frac{\mathrm{se}_i^2}{\varphi_i^2}}\right) .

The scale has a band where it is the ratio of the two phi that were logged: not where it is
clamped, and not with ``average='scale'``, whose scale has a history of its own.

Source: ``agvm_mm.statistics.precision``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..quantiles import NORMAL_95
from .history import History
from .series import Series

Ends = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]
"""Iterations, lower ends, upper ends; NaN where there is no band."""

EMPTY = Series([], [], [])
TOLERANCE = 1e-3  # relative; between a scale and the ratio that it was made of


def band(history: History, quantity: str, module: str) -> Series:
    """The band of one curve: lower and upper end, which may be infinite, over iterations.

    Args:
        history: of a run.
        quantity: 'phi', 'noise_scale' or 'scale'; others have none.
        module: whose.

    Returns:
        Rows (iteration, lower, upper); empty where the run did not log what it takes.
    """
    of = {'phi': _phi, 'noise_scale': _noise_scale, 'scale': _scale}.get(quantity)
    if of is None:
        return EMPTY
    with np.errstate(all='ignore'):  # of hostile values; those rows are left out
        steps, low, high = of(history, module)
    known = ~(np.isnan(low) | np.isnan(high))
    return Series(steps[known], low[known], high[known])


def _column(history: History, quantity: str, module: str) -> Series:
    return history.curves.get(quantity, {}).get(module, EMPTY)


def _phi(history: History, module: str) -> Ends:
    phi = _column(history, 'phi', module)
    reach = NORMAL_95 * _column(history, 'phi_se', module).at(phi.steps)
    return phi.steps, phi.values - reach, phi.values + reach


def _noise_scale(history: History, module: str) -> Ends:
    scale = _column(history, 'noise_scale', module)
    phi, error = (_column(history, key, module).at(scale.steps) for key in ('phi', 'phi_se'))
    phi = np.where((phi > 0) & (phi < 1), phi, np.nan)
    x, reach = 1 / phi - 1, NORMAL_95 * error / phi**2
    high = np.where(x > reach, scale.values * x / (x - reach), np.inf)
    return scale.steps, scale.values * x / (x + reach), high


def _scale(history: History, module: str) -> Ends:
    anchor = anchor_of(history)
    if anchor is None or module == anchor:
        return EMPTY.steps, EMPTY.values, EMPTY.values
    scale = _column(history, 'scale', module)
    (phi_a, phi), (error_a, error) = (
        [_column(history, quantity, name).at(scale.steps) for name in (anchor, module)]
        for quantity in ('phi', 'phi_se')
    )
    ratio = np.sqrt(np.where(np.minimum(phi_a, phi) > 0, phi_a / phi, np.nan))
    near = np.abs(scale.values - ratio) <= TOLERANCE * np.maximum(np.abs(scale.values), ratio)
    spread = np.exp(NORMAL_95 / 2 * np.hypot(error_a / phi_a, error / phi))
    spread = np.where(near, spread, np.nan)
    return scale.steps, scale.values / spread, scale.values * spread


def anchor_of(history: History) -> str | None:
    """The module whose scale is always 1; None where that fits none or several."""
    curves = history.curves.get('scale', {})
    fixed = [name for name, curve in curves.items() if (curve.values == 1).all()]
    return fixed[0] if len(fixed) == 1 else None
