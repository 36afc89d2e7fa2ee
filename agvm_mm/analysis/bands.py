r"""95 % bands of the logged curves, from the standard error of phi that a run logs.

With :math:`x = 1/\varphi - 1` and :math:`\delta = 1.96\, \mathrm{se} / \varphi^2`,

.. math::
   \varphi \pm 1.96\, \mathrm{se}, \qquad
   B_\mathrm{simple} \frac{x}{x \pm \delta}, \qquad
   \mu_i \exp\left(\pm \frac{1.96}{2} \sqrt{\frac{\mathrm{se}_a^2}{\varphi_a^2}
                   + \frac{\mathrm{se}_i^2}{\varphi_i^2}}\right) .

The factor has a band where it is the ratio of the two phi that were logged: not where it is
clamped, and not with ``average='factor'``, whose factor has a history of its own.

Source: :mod:`agvm_mm.statistics.precision`.
"""

from __future__ import annotations

import math

from ..statistics.precision import NORMAL_95
from .history import History

Band = list[tuple[int, float, float]]
"""(iteration, lower end, upper end); the upper end may be infinite."""

TOLERANCE = 1e-3  # relative; between a factor and the ratio that it was made of


def band(history: History, quantity: str, module: str) -> Band:
    """The band of one curve; empty where the run did not log what it takes.

    Args:
        history: of a run.
        quantity: 'phi', 'noise_scale' or 'factor'; others have none.
        module: whose.
    """
    of = {'phi': _phi, 'noise_scale': _noise_scale, 'factor': _factor}.get(quantity)
    return [] if of is None else of(history, module)


def _column(history: History, quantity: str, module: str) -> dict[int, float]:
    return dict(history.curves.get(quantity, {}).get(module, []))


def _phi(history: History, module: str) -> Band:
    error = _column(history, 'phi_se', module)
    return [
        (step, phi - NORMAL_95 * error[step], phi + NORMAL_95 * error[step])
        for step, phi in _column(history, 'phi', module).items()
        if step in error
    ]


def _noise_scale(history: History, module: str) -> Band:
    phi, error = _column(history, 'phi', module), _column(history, 'phi_se', module)
    found = []
    for step, scale in _column(history, 'noise_scale', module).items():
        if step in error and 0 < phi.get(step, 0) < 1:
            x = 1 / phi[step] - 1
            reach = NORMAL_95 * error[step] / phi[step] ** 2
            high = scale * x / (x - reach) if x > reach else math.inf
            found.append((step, scale * x / (x + reach), high))
    return found


def _factor(history: History, module: str) -> Band:
    anchor = anchor_of(history)
    if anchor is None:
        return []
    phi, error = (
        [_column(history, quantity, name) for name in (anchor, module)]
        for quantity in ('phi', 'phi_se')
    )
    found = []
    for step, factor in _column(history, 'factor', module).items():
        if not all(step in column for column in (*phi, *error)):
            continue
        values = [column[step] for column in phi]
        if min(values) > 0 and _near(factor, math.sqrt(values[0] / values[1])):
            relative = [e[step] / value for e, value in zip(error, values)]
            spread = math.exp(NORMAL_95 / 2 * math.hypot(*relative))
            found.append((step, factor / spread, factor * spread))
    return [] if module == anchor else found


def _near(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=TOLERANCE)


def anchor_of(history: History) -> str | None:
    """The module whose factor is always 1; None where that fits none or several."""
    curves = history.curves.get('factor', {})
    fixed = [name for name, curve in curves.items() if all(value == 1 for _, value in curve)]
    return fixed[0] if len(fixed) == 1 else None
