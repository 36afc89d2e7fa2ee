"""Newton-Schulz against a singular value decomposition, torch's and the library's iteration."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from agvm_mm.optimizers import orthogonalize as module
from agvm_mm.optimizers.orthogonalize import cost, gram_cost, orthogonalize, plain_cost

JORDAN = (3.4445, -4.7750, 2.0315)
CUBIC = (1.5, -0.5, 0.0)
HALVED = [4, 512]
SHAPES = [(1, 1), (1, 9), (5, 5), (6, 8), (4, 30), (16, 144)]


def batch(
    rows: int, columns: int, decay: float = 0.0, dtype: torch.dtype = torch.float64
) -> Tensor:
    """Three matrices whose singular values fall by ``decay`` decades."""
    generator = torch.Generator().manual_seed(rows * 100 + columns)
    left, s, right = torch.linalg.svd(
        torch.randn(3, rows, columns, generator=generator, dtype=torch.float64),
        full_matrices=False,
    )
    s = s * torch.logspace(0, -decay, s.shape[1], dtype=torch.float64)
    return ((left * s.unsqueeze(1)) @ right).to(dtype)


def oracle(matrices: Tensor, steps: int, coefficients: tuple[float, ...]) -> Tensor:
    """The polynomial on the singular values themselves."""
    a, b, c = coefficients
    left, s, right = torch.linalg.svd(matrices.double(), full_matrices=False)
    s = s / s.norm(dim=1, keepdim=True)
    for _ in range(steps):
        s = a * s + b * s**3 + c * s**5
    return (left * s.unsqueeze(1)) @ right


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('steps', [1, 2, 5, 6])
@pytest.mark.parametrize('halved', HALVED)
def test_equals_the_polynomial_of_the_singular_values(
    shape: tuple[int, int], steps: int, halved: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, 'HALVED', halved)
    matrices = batch(*shape, decay=1.0)
    found = orthogonalize(matrices, steps)
    torch.testing.assert_close(found, oracle(matrices, steps, JORDAN), rtol=0, atol=1e-10)


@pytest.mark.parametrize('shape', SHAPES)
def test_converges_to_the_orthogonal_factor(shape: tuple[int, int]) -> None:
    """A cubic that converges, unlike Jordan's coefficients, gives U V^T to the last digits."""
    matrices = batch(*shape)
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    found = orthogonalize(matrices, 40, CUBIC)
    torch.testing.assert_close(found, left @ right, rtol=0, atol=1e-8)


@pytest.mark.parametrize('shape', SHAPES)
def test_jordans_five_steps_are_within_their_band_of_the_orthogonal_factor(
    shape: tuple[int, int],
) -> None:
    """For singular values above 0.0015 of the norm the polynomial stays in [0.67, 1.21]."""
    found = torch.linalg.svdvals(orthogonalize(batch(*shape)))
    assert found.min() > 0.67 and found.max() < 1.21


@pytest.mark.parametrize('decay', [0.0, 2.0, 4.0])
@pytest.mark.parametrize('shape', [(64, 64), (65, 576)])
@pytest.mark.parametrize('halved', HALVED)
def test_both_iterations_agree(
    shape: tuple[int, int], decay: float, halved: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, 'HALVED', halved)
    matrices = batch(*shape, decay)
    exact = oracle(matrices, 5, JORDAN)

    def error(dtype: torch.dtype, by_gram: bool) -> float:
        price = 0 if by_gram else 1 << 60
        monkeypatch.setattr(module, 'gram_cost', lambda *_: price)
        found = orthogonalize(matrices.to(dtype)).double()
        return float((found - exact).norm() / exact.norm())

    assert error(torch.float64, True) < 1e-11 and error(torch.float64, False) < 1e-11
    assert error(torch.float32, True) < 1e-3 and error(torch.float32, False) < 5e-5
    # As exact as the plain one, because it begins anew.
    assert error(torch.bfloat16, True) < 1.5 * error(torch.bfloat16, False) + 0.02


def test_without_a_new_beginning_half_precision_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    matrices = batch(64, 576, 4.0)
    exact = oracle(matrices, 5, JORDAN)
    monkeypatch.setattr(module, 'RESTART_IN_HALF', 5)
    found = orthogonalize(matrices.bfloat16()).double()
    assert (found - exact).norm() / exact.norm() > 1


def test_zero_and_tiny_matrices() -> None:
    assert torch.equal(orthogonalize(torch.zeros(2, 3, 4)), torch.zeros(2, 3, 4))
    tiny = orthogonalize(torch.full((1, 3, 4), 1e-30))
    assert tiny.isfinite().all() and tiny.abs().max() < 1e-15
    huge = orthogonalize(batch(4, 6).float() * 1e15)
    torch.testing.assert_close(huge, orthogonalize(batch(4, 6).float()))


def test_rank_one_keeps_its_direction() -> None:
    matrix = torch.outer(torch.arange(1.0, 5), torch.arange(1.0, 8)).double()
    found = orthogonalize(matrix[None])[0]
    torch.testing.assert_close(found / found.norm(), matrix / matrix.norm(), rtol=0, atol=1e-12)
    assert 0.67 < found.norm() < 1.21


def test_a_batch_is_its_matrices() -> None:
    matrices = batch(6, 20)
    alone = torch.cat([orthogonalize(m[None]) for m in matrices])
    torch.testing.assert_close(orthogonalize(matrices), alone, rtol=0, atol=1e-13)


def test_equals_the_librarys_iteration() -> None:
    pytest.importorskip('pytorch_optimizer')
    from pytorch_optimizer.optimizer.utils.matrix import zero_power_via_newton_schulz_5

    for shape in SHAPES:
        theirs = zero_power_via_newton_schulz_5(batch(*shape), weights=JORDAN, dtype=torch.float64)
        torch.testing.assert_close(orthogonalize(batch(*shape)), theirs, rtol=0, atol=1e-10)


@pytest.mark.parametrize('shape', [(8, 8), (8, 10), (8, 16), (8, 72)])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('halved', HALVED)
def test_the_cost_is_that_of_the_products(
    shape: tuple[int, int], dtype: torch.dtype, halved: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, 'HALVED', halved)
    matrices = batch(*shape, dtype=dtype)
    with FlopCounterMode(display=False) as counter:
        orthogonalize(matrices)
    assert counter.get_total_flops() == 3 * cost(*shape, 5, dtype)


def test_the_cheaper_iteration_is_chosen() -> None:
    assert gram_cost(8, 8, 5, 5) > plain_cost(8, 8, 5)
    assert gram_cost(8, 72, 5, 5) < 0.4 * plain_cost(8, 72, 5)
