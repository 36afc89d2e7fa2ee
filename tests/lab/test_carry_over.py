"""Where the truth changes, starting anew is nearer; where it does not, carrying over is."""

from __future__ import annotations

import torch

from agvm_mm.statistics import ScaleConfig, VarianceEstimate
from lab.curves.carry_over import errors, settled

CONFIG = ScaleConfig(anchor=0, momentum=0.97)


def stream(phis: list[float], each: int, noise: float) -> list[VarianceEstimate]:
    """Estimates of two modules; the second's phi takes each value for ``each`` estimates."""
    generator = torch.Generator().manual_seed(0)
    estimates = []
    for phi in phis:
        for _ in range(each):
            factor = (1 + noise * torch.randn(2, generator=generator)).clamp(min=0.1)
            numerator = (factor * torch.tensor([0.5, phi])).double()
            estimates.append(VarianceEstimate(numerator, torch.ones(2).double(), 0, 0))
    return estimates


def test_a_change_of_the_truth() -> None:
    (row,) = errors(stream([0.1, 0.9], 200, 0.02), [200], CONFIG)
    assert row['restart'] < 0.05 < row['carry']


def test_no_change_but_noise() -> None:
    (row,) = errors(stream([0.5, 0.5], 200, 0.5), [200], CONFIG)
    assert row['carry'] < row['restart']


def test_a_stage_that_is_too_short_is_left_out() -> None:
    estimates = stream([0.1, 0.9, 0.1], 60, 0.02)
    assert [row['estimate'] for row in errors(estimates, [60, 120], CONFIG, 60)] == []
    assert [row['estimate'] for row in errors(estimates, [60, 120], CONFIG, 59)] == [60, 120]


def test_settled_scales_are_those_of_the_stage() -> None:
    estimates = stream([0.1, 0.9], 200, 0.0)
    assert torch.allclose(
        settled(estimates, 200, 400, CONFIG)[1],
        torch.tensor((0.5 / 0.9) ** 0.5).double(),
        rtol=1e-4,
    )
