"""Norms of large and of half-precision tensors are right."""

from __future__ import annotations

import pytest
import torch

from agvm_mm.gradients.norms import ROW, _rows, inner_products, norms, squared_norms

CPU = torch.device('cpu')


def squared_norm(tensor: torch.Tensor) -> torch.Tensor:
    return squared_norms([tensor], CPU)[0]


@pytest.mark.parametrize('size', [1, ROW - 1, ROW, ROW + 1, 5_000_000])
def test_float32_to_six_digits_at_any_size(size):
    generator = torch.Generator().manual_seed(size)
    x, y = (torch.randn(size, generator=generator) for _ in range(2))
    assert squared_norm(x).item() == pytest.approx(x.double().square().sum().item(), rel=1e-6)
    exact = (x.double() * y.double()).sum().item()
    assert inner_products([x], [y], CPU).item() == pytest.approx(exact, abs=1e-6 * size**0.5 + 1e-6)
    assert squared_norm(x).dtype == torch.float64


def test_float64_keeps_its_precision():
    x = torch.randn(3 * ROW + 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert squared_norm(x).item() == pytest.approx(torch.dot(x, x).item(), rel=1e-14)


def test_half_precision_does_not_overflow():
    x = torch.full((100,), 60000.0, dtype=torch.float16)
    assert squared_norm(x).item() == pytest.approx(100 * 60000.0**2, rel=1e-3)


def test_channels_last_and_missing_tensors():
    x = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    found = squared_norms([x, None, x[:, 0]], CPU)
    expected = [x.double().square().sum().item(), 0.0, x[:, 0].double().square().sum().item()]
    assert found.tolist() == pytest.approx(expected, rel=1e-6)


def test_tensors_of_many_and_of_few_pieces_stay_apart():
    sizes = [3, 2 * ROW + 5, 1, ROW, 3 * ROW]
    tensors = [torch.full((size,), 2.0) for size in sizes]
    assert [len(norms(one)) for one in tensors] == [1, 3, 1, 1, 3]
    found = squared_norms([*tensors, None], CPU)
    assert found.tolist() == pytest.approx([4.0 * size for size in sizes] + [0.0], rel=1e-6)


def test_a_tensor_on_another_device_is_one_piece():
    """Rows are for the CPU's kernel alone."""
    x = torch.empty(3 * ROW + 5, device='meta')
    assert norms(x).shape == (1,)


def test_an_empty_tensor_has_no_length():
    assert squared_norms([torch.zeros(0), torch.ones(2)], CPU).tolist() == pytest.approx([0, 2])


def test_a_channels_last_gradient_is_not_copied():
    x = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    assert _rows(x)[1].data_ptr() == x.data_ptr()
    y = torch.randn(2, 3, 4, 5)
    expected = (x.double() * y.double()).sum().item()
    assert inner_products([x, None], [y, y], CPU).tolist() == pytest.approx([expected, 0], rel=1e-5)


def test_no_tensors():
    """A rank that owns no block of K-FAC has none."""
    assert squared_norms([], CPU).shape == inner_products([], [], CPU).shape == (0,)
