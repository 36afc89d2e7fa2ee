"""A small training problem for optimizers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.registry import OPTIMIZERS
from torch import Tensor, nn

import agvm_mm  # noqa: F401  registers the optimizers

# Two parameters and four gradients; the expected numbers of the Adan tests are those of the
# authors' own float64 code on them.
P1, P2 = [1.0, -2.0, 0.5], [[0.1, -0.2], [0.3, 0.4]]
GRADIENTS = [
    ([0.1, -0.3, 0.2], [[1.0, -1.0], [0.5, 0.25]]),
    ([-0.2, 0.1, 0.05], [[0.9, -1.1], [0.4, 0.3]]),
    ([0.0, 0.4, -0.1], [[-0.5, 0.2], [0.1, -0.3]]),
    ([0.3, 0.3, 0.3], [[0.2, 0.2], [-0.2, -0.2]]),
]


def build(name: str, params: Any, **options: Any) -> torch.optim.Optimizer:
    return OPTIMIZERS.build(dict(type=f'{name}Optimizer', params=params, **options))


def parameters(dtype: torch.dtype = torch.float64) -> list[nn.Parameter]:
    return [nn.Parameter(torch.tensor(values, dtype=dtype)) for values in (P1, P2)]


def set_gradients(params: Sequence[nn.Parameter], step: int) -> None:
    for parameter, gradient in zip(params, GRADIENTS[step % len(GRADIENTS)]):
        parameter.grad = torch.tensor(gradient, dtype=parameter.dtype)


def train(
    optimizer: torch.optim.Optimizer, params: Sequence[nn.Parameter], steps: range = range(4)
) -> None:
    for step in steps:
        set_gradients(params, step)
        optimizer.step()


def close(actual: Tensor, expected: Any, tolerance: float = 1e-13) -> None:
    np.testing.assert_allclose(actual.detach().numpy(), expected, rtol=0, atol=tolerance)
