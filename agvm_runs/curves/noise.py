"""The noise scales of a run at one iteration, with their 95 % intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..intervals import noise_scale
from .bands import EMPTY, estimated_images
from .history import History
from .series import Series


@dataclass(frozen=True)
class Noise:
    """The noise scale of a module in images.

    Args:
        module: its name.
        value: B_simple, infinite from a phi of 1 on; NaN where none was logged.
        low: lower end of its 95 % interval; NaN where the run logged none.
        high: upper end, may be infinite.
    """

    module: str
    value: float
    low: float
    high: float


def noise_scales(history: History, iteration: int | None = None) -> list[Noise]:
    """The noise scales as they were last logged, of every module.

    The log leaves out a noise scale that is infinite; it follows from phi, as the ends do.

    Args:
        history: of a run.
        iteration: up to which, in micro-batches; None for the end of the log.
    """
    return [Noise(module, *_numbers(history, module, iteration)) for module in history.modules()]


def _numbers(history: History, module: str, iteration: int | None) -> tuple[float, float, float]:
    keys = ('phi', 'phi_low', 'phi_high', 'noise_scale')
    *of_phi, logged = (history.curves.get(key, {}).get(module, EMPTY) for key in keys)
    last = _up_to(of_phi[0], iteration).steps[-1:]
    if not len(last):
        return math.nan, math.nan, math.nan
    known = _up_to(estimated_images(history, module), iteration)
    images = known.values[-1] if len(known) else math.nan
    value, low, high = (noise_scale(curve.at(last), images).item() for curve in of_phi)
    given = logged.at(last).item()
    return value if math.isnan(given) else given, low, high


def _up_to(curve: Series, iteration: int | None) -> Series:
    end = len(curve)
    if iteration is not None:
        end = int(np.searchsorted(curve.steps, iteration, side='right'))
    return curve[:end]
