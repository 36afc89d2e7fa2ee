r"""Problems on which the gain of K-FAC can be computed.

A product of L square matrices is fitted to noisy targets, inputs of condition number kappa. Noise
of covariance s^2 I makes G of layer l equal to s^2 B^T B, with B the product of the layers above
and C that of the layers below; A is C Sigma C^T, and the gradient B^T E Sigma C^T, with E the
error of the product. So every layer's step is eta/s^2 B^-1 E C^-1, and together they change the
product by -eta L/s^2 E: *every* direction shrinks by the factor 1 - eta L/s^2, whatever kappa.
Gradient descent with its best learning rate shrinks the slowest direction by (k - 1)/(k + 1), k
the condition number of the Hessian. With L = 1 this is an ill-conditioned quadratic.
"""

from __future__ import annotations

import math

import pytest
import torch
from kfac_nets import kfac_of
from torch import Tensor, nn

SIZE, NOISE, START = 3, 1.0, 1e-3
DOUBLE = torch.float64


class Problem:
    """Inputs along the axes, of squared length 1 to 1/kappa; every one 2 x SIZE times."""

    def __init__(self, layers: int, kappa: float) -> None:
        torch.manual_seed(0)
        axes = torch.diag(torch.logspace(0, -math.log10(kappa) / 2, SIZE, dtype=DOUBLE))
        signs = torch.cat([torch.eye(SIZE, dtype=DOUBLE), -torch.eye(SIZE, dtype=DOUBLE)])
        self.inputs = axes.repeat_interleave(2 * SIZE, 0)
        noise = NOISE * SIZE**0.5 * signs.repeat(SIZE, 1)
        self.network = nn.Sequential(
            *[nn.Linear(SIZE, SIZE, bias=False, dtype=DOUBLE) for _ in range(layers)]
        )
        for layer in self.network:
            rotation, _ = torch.linalg.qr(torch.randn(SIZE, SIZE, dtype=DOUBLE))
            layer.weight.data = rotation
        self.solution = self.product()
        self.targets = self.inputs @ self.solution.T + noise

    def product(self) -> Tensor:
        weights = [layer.weight.detach() for layer in self.network]
        return torch.linalg.multi_dot(weights[::-1]) if len(weights) > 1 else weights[0].clone()

    def loss(self) -> Tensor:
        difference = self.network(self.inputs) - self.targets
        return 0.5 * difference.square().sum() / len(self.inputs)

    def error(self) -> float:
        return float((self.product() - self.solution).norm())

    def hessian(self) -> tuple[Tensor, Tensor]:
        parameters = list(self.network.parameters())
        sizes = [p.numel() for p in parameters]

        def loss(flat: Tensor) -> Tensor:
            out = self.inputs
            for part in flat.split(sizes):
                out = out @ part.reshape(SIZE, SIZE).T
            return 0.5 * (out - self.targets).square().sum() / len(self.inputs)

        flat = torch.cat([p.detach().reshape(-1) for p in parameters])
        return torch.linalg.eigh(torch.autograd.functional.hessian(loss, flat))

    def move(self, direction: Tensor) -> None:
        parameters = list(self.network.parameters())
        for p, part in zip(parameters, direction.split([p.numel() for p in parameters])):
            p.data += START * part.reshape(p.shape)


def slowest(problem: Problem) -> tuple[float, float, Tensor]:
    """Largest and smallest curvature, and the direction of the smallest.

    L layers have (L - 1) SIZE^2 directions that do not change the product at all.
    """
    values, vectors = problem.hessian()
    first = len(values) - SIZE**2
    assert first == 0 or values[first - 1].abs() < 1e-9 < values[first]
    return float(values[-1]), float(values[first]), vectors[:, first]


def k_fac_contraction(problem: Problem, steps: int) -> list[float]:
    rate = NOISE**2 / 2 / len(problem.network)
    kfac = kfac_of(problem.network, damping=1e-16)
    errors = [problem.error()]
    for update in range(steps):
        kfac.before_update(update)
        problem.network.zero_grad()
        loss = problem.loss()
        with kfac.around_backward(0, 1, len(problem.inputs)):
            loss.backward()
        kfac.step(update, {})
        for p in problem.network.parameters():
            p.data -= rate * p.grad
        errors.append(problem.error())
    return [after / before for before, after in zip(errors, errors[1:])]


def gradient_descent_contraction(problem: Problem, steps: int, rate: float) -> list[float]:
    errors = [problem.error()]
    for _ in range(steps):
        gradients = torch.autograd.grad(problem.loss(), list(problem.network.parameters()))
        for p, gradient in zip(problem.network.parameters(), gradients):
            p.data -= rate * gradient
        errors.append(problem.error())
    return [after / before for before, after in zip(errors, errors[1:])]


@pytest.mark.parametrize('layers', [1, 3], ids=['quadratic', 'deep'])
@pytest.mark.parametrize('kappa', [1.0, 100.0, 1e4])
def test_every_direction_halves(layers: int, kappa: float) -> None:
    problem = Problem(layers, kappa)
    torch.manual_seed(1)
    problem.move(torch.randn(layers * SIZE**2, dtype=DOUBLE))
    for factor in k_fac_contraction(problem, 8):
        assert factor == pytest.approx(0.5, abs=2e-3)


@pytest.mark.parametrize('layers', [1, 3], ids=['quadratic', 'deep'])
@pytest.mark.parametrize('kappa', [100.0, 1e4])
def test_gain_over_gradient_descent(layers: int, kappa: float) -> None:
    """Updates to a given error, as a ratio: ln 2 / ln((k + 1)/(k - 1)), about 0.35 k."""
    problem = Problem(layers, kappa)
    high, low, direction = slowest(problem)
    condition = high / low
    expected = math.log(2) / math.log((condition + 1) / (condition - 1))
    assert expected > 0.3 * kappa
    problem.move(direction)
    plain = gradient_descent_contraction(problem, 20, 2 / (high + low))
    second = Problem(layers, kappa)
    second.move(direction)
    ours = k_fac_contraction(second, 8)
    measured = (sum(map(math.log, ours)) / 8) / (sum(map(math.log, plain)) / 20)
    assert measured == pytest.approx(expected, rel=0.02)
