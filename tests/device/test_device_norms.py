"""Norms and inner products on the device are those of float64 on the CPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from agvm_mm.gradients.norms import inner_products, squared_norms


def tensors(device: str) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    # The CPU kernel, with which the simulated device computes, is not that accurate.
    numbers = 14_000_000 if device == 'cuda' else 14_000
    found: dict[str, Any] = {
        'float32': draw(100, 30),
        'bfloat16': draw(100, 30).bfloat16(),
        'float16 near its end': torch.full((1000,), 6e4).half(),
        'float64': draw(100).double(),
        'channels_last': draw(4, 8, 3, 3).to(memory_format=torch.channels_last),
        'a slice': draw(20, 20)[:, 3:7],
        'empty': torch.zeros(0, 3),
        'one number': draw(),
        'many numbers': draw(numbers),
    }
    return found


def test_squared_norms(device: str) -> None:
    cases = tensors(device)
    there: list[Any] = [tensor.to(device) for tensor in cases.values()]
    found = squared_norms([*there, None], torch.device(device)).tolist()
    expected = [tensor.double().square().sum().item() for tensor in cases.values()]
    assert found == pytest.approx([*expected, 0.0], rel=1e-6)


def test_inner_products(device: str) -> None:
    cases = tensors(device)
    pairs = [(tensor, tensor.flip(0) if tensor.ndim else -tensor) for tensor in cases.values()]
    left, right = ([pair[i].to(device) for pair in pairs] for i in (0, 1))
    found = inner_products([*left, None], [*right, None], torch.device(device)).tolist()
    for number, (a, b) in zip(found, pairs):
        size = (a.double().norm() * b.double().norm()).item()
        assert number == pytest.approx((a.double() * b.double()).sum().item(), abs=1e-6 * size)
    assert found[-1] == 0
