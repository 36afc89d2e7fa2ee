"""Scales: the two orders of averaging, the clamp, and what changes nothing."""

from __future__ import annotations

import math

import pytest
import torch

from agvm_mm.statistics import (
    ScaleConfig,
    ScaleState,
    VarianceEstimate,
    init_scales,
    moment_estimate,
    update_scales,
)
from agvm_runs.settings import AGVMSettings


def _estimate(numerator, denominator) -> VarianceEstimate:
    return VarianceEstimate(
        torch.tensor(numerator, dtype=torch.float64),
        torch.tensor(denominator, dtype=torch.float64),
        8,
        32,
    )


def _run(config: ScaleConfig, estimates: list[VarianceEstimate]) -> ScaleState:
    state = init_scales(len(estimates[0].numerator))
    for estimate in estimates:
        state = update_scales(state, estimate, config)
    return state


def test_the_defaults_are_those_of_the_config():
    config, settings = ScaleConfig(), AGVMSettings()
    assert config.average == settings.averaging == 'moments'
    names = ('momentum', 'clamp', 'eps')
    assert [getattr(config, name) for name in names] == [0.97, (0.5, 10.0), 1e-6]
    assert [getattr(settings, name) for name in names] == [0.97, (0.5, 10.0), 1e-6]


def test_scale_order_is_the_authors_moving_average_from_one():
    config = ScaleConfig(average='scale', momentum=0.97)
    state = _run(config, [_estimate([0.4, 0.1], [1.0, 1.0]), _estimate([0.2, 0.1], [1.0, 1.0])])
    first = 0.97 + 0.03 * math.sqrt((0.4 + 1e-6) / (0.1 + 1e-6))
    second = 0.97 * first + 0.03 * math.sqrt((0.2 + 1e-6) / (0.1 + 1e-6))
    assert state.scales.tolist() == pytest.approx([1.0, second], rel=1e-14)


def test_moments_order_divides_last_and_starts_at_the_truth():
    config = ScaleConfig(average='moments', momentum=0.9, eps=1e-12)
    one = _run(config, [_estimate([0.4, 0.2], [1.0, 2.0])])
    assert one.scales[1].item() == pytest.approx(2.0, rel=1e-9)
    two = _run(config, [_estimate([0.4, 0.2], [1.0, 2.0]), _estimate([1.6, 1.0], [2.0, 4.0])])
    anchor = (0.09 * 0.4 + 0.1 * 1.6) / (0.09 * 1.0 + 0.1 * 2.0)
    module = (0.09 * 0.1 + 0.1 * 0.5) / (0.09 * 1.0 + 0.1 * 2.0)
    assert two.phi.tolist() == pytest.approx([anchor, module], rel=1e-12)
    assert two.scales[1].item() == pytest.approx(math.sqrt(anchor / module), rel=1e-9)


def test_the_clamp_bounds_the_ratio_before_the_root():
    config = ScaleConfig(average='moments', clamp=(0.5, 10.0))
    state = _run(config, [_estimate([0.5, 1e-5, 1.9], [1.0, 1.0, 1.0])])
    assert state.scales.tolist() == pytest.approx([1.0, math.sqrt(10.0), math.sqrt(0.5)], rel=1e-12)


def test_the_anchor_is_one_wherever_it_stands():
    config = ScaleConfig(anchor=1, average='moments')
    state = _run(config, [_estimate([0.1, 0.4], [1.0, 1.0])])
    assert state.scales[1].item() == 1.0
    assert state.scales[0].item() == pytest.approx(2.0, rel=1e-5)


@pytest.mark.parametrize('average', ['moments', 'scale'])
def test_a_module_without_gradient_keeps_scale_and_averages(average):
    config = ScaleConfig(average=average)
    before = _run(config, [_estimate([0.4, 0.1, 0.2], [1.0, 1.0, 1.0])])
    after = update_scales(before, _estimate([0.8, 0.0, 0.1], [1.0, 0.0, 1.0]), config)
    assert after.scales[1] == before.scales[1]
    assert after.phi[1] == before.phi[1]
    assert after.estimates.tolist() == [2.0, 1.0, 2.0]
    assert after.scales[2] != before.scales[2]


@pytest.mark.parametrize('average', ['moments', 'scale'])
@pytest.mark.parametrize(
    'estimate',
    [
        _estimate([0.0, 0.1], [0.0, 1.0]),
        _estimate([0.1, math.nan], [1.0, math.nan]),
        _estimate([0.1, 0.2], [math.inf, 1.0]),
    ],
    ids=['anchor without gradient', 'nan', 'inf'],
)
def test_an_unusable_estimate_changes_nothing(average, estimate):
    config = ScaleConfig(average=average)
    before = _run(config, [_estimate([0.4, 0.1], [1.0, 1.0])])
    assert update_scales(before, estimate, config) is before


def test_equal_gradients_everywhere_give_scale_one():
    state = _run(ScaleConfig(), [_estimate([0.0, -1e-17], [1.0, 3.0])])
    assert state.scales.tolist() == pytest.approx([1.0, 1.0], rel=1e-12)


def test_update_leaves_the_old_state_alone():
    before = init_scales(2)
    update_scales(before, _estimate([0.4, 0.1], [1.0, 1.0]), ScaleConfig())
    assert before.scales.tolist() == [1.0, 1.0] and before.numerator.tolist() == [0.0, 0.0]


def test_state_survives_a_round_trip_through_plain_numbers():
    state = _run(ScaleConfig(), [_estimate([0.4, 0.1], [1.0, 0.7])])
    entries = state.to_dict(['backbone', 'neck'])
    assert all(type(v) is float for entry in entries.values() for v in entry.values())
    back = ScaleState.from_dict(entries, ['neck', 'backbone'])
    assert back.scales.tolist() == state.scales.flip(0).tolist()
    assert back.numerator.tolist() == state.numerator.flip(0).tolist()


def test_state_of_other_modules_is_refused_by_name():
    entries = init_scales(1).to_dict(['decode_head'])
    with pytest.raises(ValueError, match=r"\['decode_head'\].*\['backbone'\]"):
        ScaleState.from_dict(entries, ['backbone'])


def _limit_after(order: str, ratio: float, steps: int) -> float:
    config = ScaleConfig(average=order, momentum=0.97)
    estimates = [_estimate([0.4, 0.4 / ratio], [1.0, 1.0])] * steps
    return _run(config, estimates).scales[1].item()


def test_both_orders_reach_the_same_limit_and_one_is_slow():
    assert _limit_after('moments', 4.0, 1) == pytest.approx(2.0, rel=1e-4)
    assert _limit_after('scale', 4.0, 20) < 1.6
    assert _limit_after('scale', 4.0, 600) == pytest.approx(2.0, rel=1e-4)


def _noise_changes(size_after: float) -> list[float]:
    """Averaged phi over 60 estimates of 0.9 after 60 of 0.1, gradients `size_after` as large."""
    before = [_estimate([0.1, 0.1], [1.0, 1.0])] * 60
    state = _run(ScaleConfig(momentum=0.9), before)
    history = []
    for _ in range(60):
        estimate = _estimate([0.9 * size_after, 0.1 * size_after], [size_after, size_after])
        state = update_scales(state, estimate, ScaleConfig(momentum=0.9))
        history.append(state.phi[0].item())
    return history


@pytest.mark.parametrize('size', [1e-6, 1.0, 1e6])
def test_averages_follow_the_noise_whatever_the_size_of_the_gradients(size):
    """The weight of an estimate must not be the squared norm of its gradient."""
    history = _noise_changes(size)
    assert history[20] == pytest.approx(0.9, abs=0.12)
    assert history[59] == pytest.approx(0.9, abs=0.005)


def test_one_burst_counts_at_most_four_times():
    config = ScaleConfig(momentum=0.9)
    steady = _run(config, [_estimate([0.5, 0.5], [1.0, 1.0])] * 100)
    burst = update_scales(steady, _estimate([0.0, 5e5], [1e6, 1e6]), config)
    expected = 0.9 * 0.5 / (0.9 + 0.1 * 4)
    assert burst.phi[0].item() == pytest.approx(expected, rel=1e-3)


def test_scaling_by_the_estimate_before_leaves_the_ratio_of_expectations():
    """Noisy parts of known mean: averaging phi itself would be off by Jensen's inequality."""
    generator = torch.Generator().manual_seed(0)
    state, config = init_scales(1), ScaleConfig(momentum=0.999)
    for _ in range(6000):
        denominator = torch.rand(1, generator=generator).item() * 1.6 + 0.2
        state = update_scales(state, _estimate([0.5], [denominator]), config)
    assert state.phi[0].item() == pytest.approx(0.5, abs=0.02)


def _noisy(modules: int, generator: torch.Generator, scale: float) -> VarianceEstimate:
    """8 sample gradients of 100 numbers, unit noise, S = 10: phi = 25 / 35."""
    g = torch.randn(8, modules, 100, generator=generator, dtype=torch.float64)
    g = scale * (g + math.sqrt(10 / 100))
    return moment_estimate(g.square().sum(2).mean(0), g.mean(0).square().sum(1), 8, 16)


@pytest.mark.parametrize(('momentum', 'updates'), [(0.9, 60), (0.97, 25)])
def test_the_interval_of_phi_holds_the_truth_as_often_as_it_says(momentum, updates):
    """400 independent modules of one truth; before and after the average has forgotten."""
    config, generator = ScaleConfig(momentum=momentum), torch.Generator().manual_seed(0)
    state = init_scales(400)
    for t in range(updates):
        state = update_scales(state, _noisy(400, generator, 0.98**t), config)
    distance = (state.phi - 25 / 35).abs() / state.phi_error(momentum)
    assert 0.88 < float((distance < 1.96).double().mean()) < 0.99


def test_the_standard_error_is_that_of_the_weights():
    """One module with equal denominators: the error of a weighted mean, by hand."""
    config = ScaleConfig(momentum=0.5)
    values = [0.2, 0.5, 0.4]
    state = _run(config, [_estimate([value], [1.0]) for value in values])
    weights = [0.125, 0.25, 0.5]
    mean = sum(w * v for w, v in zip(weights, values)) / sum(weights)
    spread = sum((w * (v - mean)) ** 2 for w, v in zip(weights, values)) / sum(weights) ** 2
    count = sum(weights) ** 2 / sum(w**2 for w in weights)
    expected = math.sqrt(spread * count / (count - 1))
    assert float(state.phi_error(0.5)) == pytest.approx(expected, rel=1e-12)
    first = _run(config, [_estimate([0.2], [1.0])])
    assert bool(first.phi_error(0.5).isnan().all())
