"""95 % bands of the logged curves: the logged ends of phi, and their images.

The scale has a band where it is the ratio of the two phi that were logged: not where it is
clamped, and not with ``average='scale'``, whose scale has a history of its own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .. import intervals
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


def estimated_images(history: History, module: str) -> Series:
    """Images of the gradients in which phi was measured, where its noise scale was finite."""
    scale = _column(history, 'noise_scale', module)
    with np.errstate(all='ignore'):  # of hostile values
        images = scale.values / intervals.noise_scale(
            _column(history, 'phi', module).at(scale.steps), 1.0
        )
    known = np.isfinite(images) & (images > 0)
    return Series(scale.steps[known], images[known])


def _column(history: History, quantity: str, module: str) -> Series:
    return history.curves.get(quantity, {}).get(module, EMPTY)


def _triple(
    history: History, module: str, steps: NDArray[np.int64]
) -> tuple[NDArray[np.float64], ...]:
    """Phi of a module and its two ends at ``steps``."""
    phi, low, high = (
        _column(history, key, module).at(steps) for key in ('phi', 'phi_low', 'phi_high')
    )
    return phi, low, high


def _phi(history: History, module: str) -> Ends:
    steps = _column(history, 'phi', module).steps
    _, low, high = _triple(history, module, steps)
    return steps, low, high


def _noise_scale(history: History, module: str) -> Ends:
    images = estimated_images(history, module)
    _, low, high = _triple(history, module, images.steps)
    low, high = (intervals.noise_scale(end, images.values) for end in (low, high))
    return images.steps, low, high


def _scale(history: History, module: str) -> Ends:
    anchor = anchor_of(history)
    if anchor is None or module == anchor:
        return EMPTY.steps, EMPTY.values, EMPTY.values
    scale = _column(history, 'scale', module)
    of_anchor, of_module = (_triple(history, name, scale.steps) for name in (anchor, module))
    phi_a, phi = of_anchor[0], of_module[0]
    ratio = np.sqrt(np.where(np.minimum(phi_a, phi) > 0, phi_a / phi, np.nan))
    near = np.abs(scale.values - ratio) <= TOLERANCE * np.maximum(np.abs(scale.values), ratio)
    low, high = intervals.scale_ends(scale.values, of_anchor, of_module)
    return scale.steps, np.where(near, low, np.nan), np.where(near, high, np.nan)


def anchor_of(history: History) -> str | None:
    """The module whose scale is always 1; None where that fits none or several."""
    curves = history.curves.get('scale', {})
    fixed = [name for name, curve in curves.items() if (curve.values == 1).all()]
    return fixed[0] if len(fixed) == 1 else None
