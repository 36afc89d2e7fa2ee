"""What must hold of variances and scales for any modules, ranks and gradients."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, fields

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from networks import ReplayNet
from torch import Tensor

from agvm_mm.distributed import SingleProcess
from agvm_mm.gradients import build_collector
from agvm_mm.statistics import (
    ScaleConfig,
    ScaleState,
    VarianceEstimate,
    cosine_estimate,
    init_scales,
    moment_estimate,
    noise_scale,
    partition_parameters,
    update_scales,
)

ESTIMATORS = pytest.mark.parametrize('estimator', ['all_pairs', 'half_split'])
AVERAGES = st.sampled_from(['moments', 'scale'])
MANY = settings(max_examples=40)
SEEDS = st.integers(0, 2**32 - 1)


@dataclass
class Problem:
    """Gradients (updates, N, D) of modules with ``sizes`` numbers; the first is the anchor."""

    sizes: list[int]
    gradients: Tensor

    def parts(self, update: int = 0) -> tuple[Tensor, ...]:
        return self.gradients[update].split(self.sizes, dim=1)


@st.composite
def problems(draw, smooth: bool = False, even: bool = False) -> Problem:
    """Gaussian gradients; unless ``smooth``, also whole numbers that cancel, agree or vanish."""
    sizes = draw(st.lists(st.integers(1, 12), min_size=2, max_size=4))
    samples = 2 * draw(st.integers(1, 3)) if even else draw(st.integers(2, 16))
    shape = (2, samples, sum(sizes))
    if smooth or draw(st.booleans()):
        rng = np.random.default_rng(draw(SEEDS))
        mean = rng.normal(size=shape[2]) * draw(st.sampled_from([0.0, 0.3, 10.0]))
        values = mean + rng.normal(size=shape)
    else:
        values = draw(arrays(np.float64, shape, elements=st.integers(-1000, 1000).map(float)))
    return Problem(sizes, torch.from_numpy(np.ascontiguousarray(values)))


def _measure(gradients: Tensor, sizes: list[int], estimator: str) -> VarianceEstimate:
    """The estimate that the collector makes of one update, each row a sample gradient."""
    named = {f'module{i}': size for i, size in enumerate(sizes)}
    model = ReplayNet(named, torch.zeros(sum(sizes), dtype=torch.float64))
    collector = build_collector(estimator, partition_parameters(model), SingleProcess())
    for k, gradient in enumerate(gradients):
        with collector.around_backward(k, len(gradients), images=1):
            (sum(model([gradient], mode='loss').values()) / len(gradients)).backward()
    estimate = collector.estimate()
    assert estimate is not None
    return estimate


def _scales(problem: Problem, estimator: str, config: ScaleConfig) -> ScaleState:
    state = init_scales(len(problem.sizes))
    for gradients in problem.gradients:
        state = update_scales(state, _measure(gradients, problem.sizes, estimator), config)
    return state


def _equal(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a.nan_to_num(nan=-1.0), b.nan_to_num(nan=-1.0))


@ESTIMATORS
@MANY
@given(problem=problems())
def test_phi_is_between_zero_and_two_where_there_is_a_gradient(estimator, problem):
    estimate = _measure(problem.gradients[0], problem.sizes, estimator)
    present = torch.stack([part.any() for part in problem.parts()])
    phi = estimate.phi[estimate.valid]
    assert ((phi > -1e-12) & (phi < 2 + 1e-12)).all()
    assert not (estimate.valid & ~present).any()
    if estimator == 'all_pairs':
        assert torch.equal(estimate.valid, present)


@ESTIMATORS
@MANY
@given(average=AVERAGES, problem=problems(), exponent=st.integers(-20, 20))
def test_a_power_of_two_changes_no_bit(estimator, average, problem, exponent):
    config = ScaleConfig(average=average, momentum=0.5)
    scaled = Problem(problem.sizes, problem.gradients * 2.0**exponent)
    a, b = (_scales(p, estimator, config) for p in (problem, scaled))
    assert torch.equal(a.scales, b.scales)
    assert _equal(a.phi, b.phi)
    assert _equal(noise_scale(a.phi, 64), noise_scale(b.phi, 64))


@ESTIMATORS
@MANY
@given(average=AVERAGES, problem=problems(smooth=True), exponent=st.floats(-6, 6))
def test_any_scale_drops_out(estimator, average, problem, exponent):
    config = ScaleConfig(average=average, momentum=0.5)
    scaled = Problem(problem.sizes, problem.gradients * 10.0**exponent)
    a, b = (_scales(p, estimator, config) for p in (problem, scaled))
    torch.testing.assert_close(a.phi, b.phi, rtol=0, atol=1e-11)
    torch.testing.assert_close(a.scales, b.scales, rtol=1e-5, atol=0)  # phi + 1e-6 divides
    clear = (a.phi - 1).abs() > 1e-3
    scales = [noise_scale(state.phi, 64)[clear] for state in (a, b)]
    torch.testing.assert_close(scales[0], scales[1], rtol=1e-7, atol=1e-7)


@ESTIMATORS
@MANY
@given(problem=problems(smooth=True), seed=SEEDS)
def test_the_order_of_ranks_does_not_matter(estimator, problem, seed):
    """Any order; for the half split, any within each half."""
    samples = problem.gradients.shape[1]
    half = samples // 2 if estimator == 'half_split' else 0
    rng = np.random.default_rng(seed)
    order = [*rng.permutation(half), *(half + rng.permutation(samples - half))]
    a = _measure(problem.gradients[0], problem.sizes, estimator)
    b = _measure(problem.gradients[0][order], problem.sizes, estimator)
    torch.testing.assert_close(a.phi, b.phi, rtol=0, atol=1e-11)


@ESTIMATORS
@MANY
@given(average=AVERAGES, problem=problems(smooth=True))
def test_equal_gradients_have_no_variance_and_scale_one(estimator, average, problem):
    problem.gradients = problem.gradients[:, :1].expand_as(problem.gradients)
    state = _scales(problem, estimator, ScaleConfig(average=average, momentum=0.5))
    assert state.phi.abs().max() < 1e-13
    torch.testing.assert_close(state.scales, torch.ones_like(state.scales), rtol=1e-7, atol=0)


@ESTIMATORS
@MANY
@given(problem=problems(smooth=True), seed=SEEDS)
def test_a_rotation_of_a_modules_weights_does_not_matter(estimator, problem, seed):
    rng = np.random.default_rng(seed)
    turned = [
        part @ torch.from_numpy(np.linalg.qr(rng.normal(size=(size, size)))[0])
        for part, size in zip(problem.parts(), problem.sizes)
    ]
    a = _measure(problem.gradients[0], problem.sizes, estimator)
    b = _measure(torch.cat(turned, dim=1), problem.sizes, estimator)
    torch.testing.assert_close(a.phi, b.phi, rtol=0, atol=1e-11)


def _halves(gradients: Tensor, first: list[int]) -> tuple[Tensor, Tensor]:
    rest = [k for k in range(len(gradients)) if k not in first]
    return gradients[first].mean(0), gradients[rest].mean(0)


@MANY
@given(problem=problems(even=True))
def test_all_pairs_is_the_mean_over_all_half_splits(problem):
    """Exactly, with the mean square of both halves in the denominator."""
    estimate = _measure(problem.gradients[0], problem.sizes, 'all_pairs')
    for i, part in enumerate(problem.parts()):
        splits = itertools.combinations(range(len(part)), len(part) // 2)
        pairs = [_halves(part, list(first)) for first in splits]
        dot = sum(torch.dot(a, b) for a, b in pairs)
        square = sum((torch.dot(a, a) + torch.dot(b, b)) / 2 for a, b in pairs)
        if estimate.valid[i]:
            assert estimate.phi[i].item() == pytest.approx(float(1 - dot / square), abs=1e-11)


def _cosines(gradients: Tensor, first: Tensor) -> VarianceEstimate:
    """The paper's estimate for every row of ``first``, which is 1 in the first half, 0 beyond."""
    products = gradients @ gradients.T
    a, b = (half / half.sum(1, keepdim=True) for half in (first, 1 - first))
    dot, square_a, square_b = ((x @ products * y).sum(1) for x, y in ((a, b), (a, a), (b, b)))
    return cosine_estimate(dot, square_a, square_b, len(gradients))


def _ratio(estimate: VarianceEstimate) -> tuple[float, float]:
    """Mean numerator over mean denominator, and its standard error to first order."""
    ratio = estimate.numerator.mean() / estimate.denominator.mean()
    rest = estimate.numerator - ratio * estimate.denominator
    return float(ratio), float(rest.std() / estimate.denominator.mean() / len(rest) ** 0.5)


@pytest.mark.parametrize('mean', [0.05, 0.5])
def test_random_half_splits_agree_with_all_pairs(mean):
    """One set of 16 sample gradients, 4,000 random halves, at a low and a high signal."""
    rng = np.random.default_rng(0)
    gradients = torch.from_numpy(rng.normal(mean, 1.0, (16, 20_000)))
    first = rng.permuted(np.tile([1.0] * 8 + [0.0] * 8, (4000, 1)), axis=1)
    ratio, error = _ratio(_cosines(gradients, torch.from_numpy(first)))
    found = _measure(gradients, [10_000, 10_000], 'all_pairs')
    assert error < 0.002 * ratio
    whole = float(found.numerator.sum() / found.denominator.sum())
    assert abs(ratio - whole) < 3 * error


def test_both_estimators_find_the_true_variance_and_all_pairs_closer():
    """400 updates of N = 8, |E g|^2 = 0.04 D, tr Cov = D: phi = (2/8) / (0.04 + 2/8).

    28 pairs of sample gradients against the 16 across the halves: sqrt(16/28) = 0.76 of the error.
    """
    generator = torch.Generator().manual_seed(1)
    truth = 0.25 / 0.29
    draws = 0.2 + torch.randn(400, 8, 2000, generator=generator, dtype=torch.float64)
    a, b = draws.square().sum(2).mean(1), draws.mean(1).square().sum(1)
    first, second = draws[:, :4].mean(1), draws[:, 4:].mean(1)
    products = ((x * y).sum(1) for x, y in ((first, second), (first, first), (second, second)))
    errors = []
    for estimate in (moment_estimate(a, b, 8), cosine_estimate(*products, 8)):
        ratio, error = _ratio(estimate)
        assert error < 0.005 * truth
        assert abs(ratio - truth) < 3 * error
        errors.append(error)
    assert errors[0] < 0.8 * errors[1]


@ESTIMATORS
@MANY
@given(
    average=AVERAGES,
    problem=problems(),
    low=st.floats(0.01, 3.0),
    width=st.floats(1.0, 100.0),
    momentum=st.floats(0.0, 0.999),
    data=st.data(),
)
def test_scales_stay_in_their_bounds(estimator, average, problem, low, width, momentum, data):
    anchor = data.draw(st.integers(0, len(problem.sizes) - 1))
    config = ScaleConfig(anchor, average, momentum, (low, low * width))
    state = _scales(problem, estimator, config)
    least, most = (math.sqrt(bound) for bound in config.clamp)
    measured = state.estimates > 0
    assert (state.scales[~measured] == 1).all() and state.scales[anchor] == pytest.approx(1)
    measured[anchor] = False
    if average == 'scale':
        least, most = min(1.0, least), max(1.0, most)
    inside = (state.scales >= least - 1e-12) & (state.scales <= most * (1 + 1e-12))
    assert inside[measured].all(), (state.scales, least, most)


@MANY
@given(average=AVERAGES, problem=problems(), seed=SEEDS)
def test_the_state_survives_plain_numbers_to_the_last_bit(average, problem, seed):
    state = _scales(problem, 'all_pairs', ScaleConfig(average=average, momentum=0.7))
    names = [f'module{i}' for i in range(len(problem.sizes))]
    order = np.random.default_rng(seed).permutation(len(names))
    entries = {names[i]: state.to_dict(names)[names[i]] for i in order}
    back = ScaleState.from_dict(entries, names)
    for field in fields(ScaleState):
        assert torch.equal(getattr(back, field.name), getattr(state, field.name)), field.name


@ESTIMATORS
@MANY
@given(
    average=AVERAGES,
    problem=problems(smooth=True),
    bad=st.sampled_from([math.nan, math.inf, -math.inf, 1e200]),
    data=st.data(),
)
def test_a_non_finite_entry_anywhere_changes_nothing(estimator, average, problem, bad, data):
    """1e200 is finite, its square is not."""
    config = ScaleConfig(average=average)
    before = update_scales(
        init_scales(len(problem.sizes)),
        _measure(problem.gradients[0], problem.sizes, estimator),
        config,
    )
    spoilt = problem.gradients[1].clone()
    spoilt.view(-1)[data.draw(st.integers(0, spoilt.numel() - 1))] = bad
    estimate = _measure(spoilt, problem.sizes, estimator)
    assert not estimate.finite
    assert update_scales(before, estimate, config) is before
