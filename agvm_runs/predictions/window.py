r"""Noise scales with intervals from a window of estimates, and phi at any other batch.

All follows from one number a module, linear in its signal,

.. math::
   x = \frac1\varphi - 1 = \frac{S}{2 V / N} = \frac{b}{2 B_\mathrm{simple}}, \qquad
   \varphi(b') = \frac{1}{1 + x b' / b}, \qquad B_\mathrm{simple} = \frac{b}{2 x}

for a batch of b images. All are monotone in phi, so their intervals are the images of its interval
(:mod:`agvm_runs.intervals`). Where x reaches 0 no signal was seen and the noise scale has no upper
bound. Numbers are one for every module, (M,).

Source: McCandlish et al., 2018, appendix A.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..intervals import Numbers, phi_ends, quiet


@dataclass(frozen=True)
class Window:
    """What a number of estimates say together.

    Args:
        phi: averaged normalised variance at the batch of the estimates, (M,).
        error: its standard error, (M,).
        count: estimates that entered, the fewest of any module.
        images: b, images of one estimate.
    """

    phi: Numbers
    error: Numbers
    count: int
    images: float

    @property
    @quiet
    def inverse(self) -> Numbers:
        """x, not below 0."""
        return np.maximum(1 / self.phi - 1, 0.0)

    @property
    @quiet
    def inverse_error(self) -> Numbers:
        """Standard error of x."""
        return self.error / self.phi**2

    @quiet
    def inverse_bounds(self) -> tuple[Numbers, Numbers]:
        """95 % interval of x, not below 0: the image of that of phi."""
        low, high = phi_ends(self.phi, self.error, self.count)
        return np.maximum(1 / high - 1, 0.0), np.maximum(1 / low - 1, 0.0)

    @quiet
    def noise_scale(self) -> tuple[Numbers, Numbers, Numbers]:
        """Noise scale in images: estimate, lower and upper end of the 95 % interval."""
        low, high = self.inverse_bounds()
        scale, least, most = (self.images / (2 * x) for x in (self.inverse, high, low))
        return scale, least, most

    @quiet
    def phi_at(self, batch: float) -> tuple[Numbers, Numbers, Numbers]:
        """Phi at ``batch`` images: prediction, lower and upper end of the 95 % interval."""
        ratio = batch / self.images
        low, high = self.inverse_bounds()
        phi, least, most = (1 / (1 + ratio * x) for x in (self.inverse, high, low))
        return phi, least, most


def read_window(entry: dict[str, Any]) -> Window:
    """A window of the JSON."""
    phi, error = (numbers(entry[key]) for key in ('phi', 'error'))
    return Window(phi, error, int(entry['count']), float(entry['images']))


@quiet
def pooled(result: dict[str, Any], key: str = 'window') -> Window:
    """The mean over seeds of x = 1/phi - 1, as a window."""
    windows = [read_window(seed[key]) for seed in result['seeds']]
    x = np.mean([1 / window.phi - 1 for window in windows], axis=0)
    errors = np.stack([window.inverse_error for window in windows])
    phi = 1 / (1 + x)
    error = np.sqrt((errors**2).sum(0)) / len(windows) * phi**2
    return Window(phi, error, sum(window.count for window in windows), windows[0].images)


@quiet
def errors(result: dict[str, Any], key: str) -> dict[int, Numbers]:
    """Relative error of phi, predicted / measured - 1, (seeds, M) by batch.

    Args:
        result: with a check.
        key: the window that predicts: 'window' or 'same_weights'.
    """
    found: dict[int, list[Numbers]] = {}
    for seed in result['seeds']:
        window = read_window(seed[key])
        for entry in seed['measured']:
            predicted = window.phi_at(entry['batch'])[0]
            found.setdefault(entry['batch'], []).append(predicted / numbers(entry['phi']) - 1)
    return {batch: np.stack(rows) for batch, rows in found.items()}


def number(value: float | None) -> float:
    """A number of the JSON, NaN for null."""
    return math.nan if value is None else value


def numbers(values: Sequence[float | None]) -> Numbers:
    """A list of the JSON, NaN for null."""
    return np.array([number(value) for value in values], dtype=np.float64)
