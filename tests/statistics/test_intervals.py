"""Intervals of phi, noise scale and scale, and the zones, against runs of known truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from agvm_mm.statistics import ScaleConfig, init_scales, update_scales
from agvm_mm.statistics.moments import moment_estimate
from agvm_runs.intervals import noise_scale, phi_ends, scale_ends
from agvm_runs.verdict import Phi

SAMPLES, RUNS, IMAGES = 4, 500, 32


def _phi(true: float, estimates: int, numbers: int, seed: int) -> tuple[np.ndarray, ...]:
    """Averaged phi and its ends in ``RUNS`` runs of Gaussian sample gradients."""
    generator = torch.Generator().manual_seed(seed)
    signal = 2 / SAMPLES * (1 - true) / true  # of noise 1
    state, config = init_scales(RUNS), ScaleConfig()
    for _ in range(estimates):
        shape = (SAMPLES, RUNS, numbers)
        g = torch.randn(shape, generator=generator, dtype=torch.float64) / math.sqrt(numbers)
        g[..., 0] += math.sqrt(signal)
        moments = g.square().sum(2).mean(0), g.mean(0).square().sum(1)
        state = update_scales(state, moment_estimate(*moments, SAMPLES, IMAGES), config)
    low, high = state.phi_ends(config.momentum)
    return state.phi.numpy(), low.numpy(), high.numpy()


def _share(low: np.ndarray, true: float, high: np.ndarray) -> float:
    return float(((low <= true) & (true <= high)).mean())


@pytest.mark.parametrize('numbers', [4, 200])
@pytest.mark.parametrize('estimates', [4, 8, 60])
@pytest.mark.parametrize('true', [0.03, 0.5, 0.97])
def test_intervals_hold_the_truth_as_often_as_they_say(true, estimates, numbers):
    phi, low, high = _phi(true, estimates, numbers, 0)
    assert 0.88 < _share(low, true, high) < 0.99
    # The truth of the noise scale: b V / (N S) with V = 1.
    size = IMAGES / SAMPLES / (2 / SAMPLES * (1 - true) / true)
    ends = noise_scale(low, IMAGES), noise_scale(high, IMAGES)
    assert 0.88 < _share(ends[0], size, ends[1]) < 0.99
    anchor = _phi(0.8, estimates, numbers, 1)
    ends = scale_ends(np.sqrt(anchor[0] / phi), anchor, (phi, low, high))
    assert 0.88 < _share(ends[0], math.sqrt(0.8 / true), ends[1]) < 0.99


@pytest.mark.parametrize(
    ('ratio', 'zone'),
    [
        (0.05, 'perfect scaling'),
        (0.5, 'sweet spot'),
        (2, 'sweet spot'),
        (20, 'diminishing returns'),
    ],
)
def test_the_zone_is_the_right_one(ratio, zone):
    """``ratio`` is the batch in noise scales; phi = 1 / (1 + ratio / 2)."""
    columns = _phi(1 / (1 + ratio / 2), 20, 200, 2)
    found = [Phi('neck', *map(float, row)).zones for row in zip(*columns)]
    assert np.mean([zone in zones for zones in found]) >= 0.95
    assert np.mean([zones == [zone] for zones in found]) >= 0.95


def test_ends_by_hand():
    # k = 2 estimates: t = 12.7 by the tables, the series here gives the last digits differently.
    low, high = phi_ends(0.5, 0.05, 1e9)
    assert low * high == pytest.approx(0.25)
    assert high / 0.5 == pytest.approx(math.exp(1.959964 * 0.1), rel=1e-6)


def test_no_error_no_interval():
    assert np.isnan(phi_ends(0.5, math.nan, 1.0)).all()


def test_the_noise_scale_ends_where_the_signal_does():
    assert noise_scale([0.5, 1.0, 1.2, math.nan], 8).tolist()[:3] == [4.0, math.inf, math.inf]
    assert math.isnan(noise_scale(math.nan, 8))
