"""Signal, noise and normalised variance against gathered gradients and known cases."""

from __future__ import annotations

import itertools

import pytest
import torch

from agvm_mm.statistics import VarianceEstimate, cosine_estimate, moment_estimate, noise_scale


def _moments(gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A and B of gradients (N, D), as one module."""
    a = gradients.square().sum(1).mean().reshape(1)
    b = gradients.mean(0).square().sum().reshape(1)
    return a, b


def _estimate(a: torch.Tensor, b: torch.Tensor, samples: int) -> VarianceEstimate:
    """Of micro-batches of one image: its noise is then that of a sample gradient, V."""
    return moment_estimate(a, b, samples, images=samples)


@pytest.fixture(params=[2, 3, 8])
def gradients(request) -> torch.Tensor:
    generator = torch.Generator().manual_seed(request.param)
    mean = torch.randn(50, generator=generator, dtype=torch.float64)
    spread = torch.randn(request.param, 50, generator=generator, dtype=torch.float64)
    return mean + 2 * spread


def test_signal_is_the_mean_over_all_pairs(gradients):
    a, b = _moments(gradients)
    pairs = [torch.dot(x, y) for x, y in itertools.combinations(gradients, 2)]
    torch.testing.assert_close(
        _estimate(a, b, len(gradients)).signal,
        torch.stack(pairs).mean().reshape(1),
        rtol=1e-12,
        atol=1e-12,
    )


def test_noise_is_the_sample_trace_covariance(gradients):
    a, b = _moments(gradients)
    trace = gradients.var(0, unbiased=True).sum().reshape(1)
    torch.testing.assert_close(_estimate(a, b, len(gradients)).noise, trace, rtol=1e-12, atol=0)


def test_two_samples_give_the_exact_inner_product():
    x, y = torch.tensor([1.0, 2.0, -3.0]).double(), torch.tensor([0.5, -1.0, 4.0]).double()
    a, b = _moments(torch.stack([x, y]))
    assert _estimate(a, b, 2).signal.item() == pytest.approx(torch.dot(x, y).item(), rel=1e-15)
    assert (2 * b - a).item() == pytest.approx(torch.dot(x, y).item(), rel=1e-15)


def test_phi_is_the_ratio_of_noise_to_signal_and_noise(gradients):
    a, b = _moments(gradients)
    n = len(gradients)
    pairs = [torch.dot(x, y) for x, y in itertools.combinations(gradients, 2)]
    s = torch.stack(pairs).mean().reshape(1)
    v = gradients.var(0, unbiased=True).sum().reshape(1)
    expected = (2 * v / n) / (s + 2 * v / n)
    torch.testing.assert_close(_estimate(a, b, n).phi, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ('pair', 'phi'),
    [
        (([3.0, 4.0], [3.0, 4.0]), 0.0),
        (([1.0, 0.0], [0.0, 1.0]), 1.0),
        (([1.0, 0.0], [-1.0, 0.0]), 2.0),
    ],
)
def test_equal_orthogonal_and_opposite_gradients(pair, phi):
    x, y = (torch.tensor(v, dtype=torch.float64) for v in pair)
    a, b = _moments(torch.stack([x, y]))
    assert _estimate(a, b, 2).phi.item() == pytest.approx(phi, abs=1e-15)
    cosine = cosine_estimate(*(torch.dot(p, q).reshape(1) for p, q in ((x, y), (x, x), (y, y))), 2)
    assert cosine.phi.item() == pytest.approx(phi, abs=1e-15)


def test_the_estimates_are_unbiased_on_known_noise():
    """|E g|^2 = 50 and tr Cov = 4 * 50, from 4,000 draws of N = 4."""
    generator = torch.Generator().manual_seed(0)
    draws = 1.0 + 2.0 * torch.randn(4000, 4, 50, generator=generator, dtype=torch.float64)
    a = draws.square().sum(2).mean(1)
    b = draws.mean(1).square().sum(1)
    estimate = _estimate(a, b, 4)
    s, v = estimate.signal, estimate.noise
    assert abs(s.mean() - 50) < 4 * s.std() / 4000**0.5
    assert abs(v.mean() - 200) < 4 * v.std() / 4000**0.5


def test_noise_scale_inverts_phi():
    scale, batch = torch.tensor([2.0, 50.0, 5000.0]).double(), 256
    phi = 1 / (1 + batch / (2 * scale))
    torch.testing.assert_close(noise_scale(phi, batch), scale, rtol=1e-12, atol=0)


def test_noise_scale_is_infinite_without_signal_and_unknown_without_phi():
    found = noise_scale(torch.tensor([1.0, 1.3, torch.nan]).double(), 32)
    assert found[:2].isinf().all() and found[2].isnan()


def test_a_module_without_gradient_has_no_phi():
    estimate = moment_estimate(torch.tensor([0.0, 1.0]), torch.tensor([0.0, 0.5]), 4)
    assert estimate.valid.tolist() == [False, True]
    assert estimate.phi[0].isnan() and estimate.finite


@pytest.mark.parametrize('bad', [torch.inf, torch.nan])
def test_a_non_finite_moment_is_noticed(bad):
    assert not moment_estimate(torch.tensor([1.0, bad]), torch.tensor([0.5, bad]), 4).finite


@pytest.mark.parametrize(('function', 'sums'), [(moment_estimate, 2), (cosine_estimate, 3)])
def test_one_sample_gradient_is_refused(function, sums):
    with pytest.raises(ValueError, match='1 sample gradient has no variance'):
        function(*[torch.ones(1)] * sums, 1)
