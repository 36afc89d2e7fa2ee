"""Every optimizer of ours on the same parameters, for the common suite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine.registry import OPTIMIZERS
from torch import Tensor, nn

import agvm_mm  # noqa: F401  registers the optimizers

SHAPES = [(6, 5), (5, 6), (4, 3, 3, 3), (1, 7), (7, 1), (6,), (1,), ()]
Build = Callable[..., torch.optim.Optimizer]


def plain(name: str, **options: Any) -> Build:
    """A builder from parameters, or groups of them, and options that take precedence."""

    def build(params: Sequence[Any], **more: Any) -> torch.optim.Optimizer:
        config = dict(type=f'{name}Optimizer', params=list(params), **{**options, **more})
        return OPTIMIZERS.build(config)

    return build


def hybrid(name: str, **options: Any) -> Build:
    """As :func:`plain` for an optimizer whose groups say whether they hold matrices."""

    def build(params: Sequence[Any], **more: Any) -> torch.optim.Optimizer:
        listed = list(params)
        groups = listed if isinstance(listed[0], dict) else [dict(params=listed)]
        cut = [
            {**group, 'params': chosen, 'use_muon': matrices}
            for group in groups
            for matrices in (True, False)
            if (chosen := [p for p in group['params'] if (p.ndim > 1) is matrices])
        ]
        return plain(name, **options)(cut, **more)

    return build


BUILDERS: dict[str, Build] = {
    'LARS': plain('LARS', lr=1.0, trust_coefficient=0.02, weight_decay=0.01),
    'LAMB': plain('LAMB', lr=0.05, weight_decay=0.01),
    'Adan': plain('Adan', lr=0.05, weight_decay=0.01),
    'SOAP': plain('SOAP', lr=0.05, weight_decay=0.01),
    'Muon with AdamW': hybrid('Muon', lr=0.05, weight_decay=0.01, rest=dict(lr_ratio=0.5)),
    'Muon with SGD': hybrid(
        'Muon',
        lr=0.1,
        weight_decay=0.01,
        adjust_lr='original',
        rest=dict(type='SGD', nesterov=True, lr_ratio=0.3),
    ),
}


def parameters(dtype: torch.dtype = torch.float64) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(3)
    return [
        nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype))
        for shape in SHAPES
    ]


def gradient(parameter: Tensor, index: int, step: int) -> Tensor:
    generator = torch.Generator().manual_seed(100 * step + index)
    values = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return values.to(parameter.dtype)


def set_gradients(params: Sequence[nn.Parameter], step: int) -> None:
    for i, parameter in enumerate(params):
        parameter.grad = gradient(parameter, i, step)


def train(
    optimizer: torch.optim.Optimizer, params: Sequence[nn.Parameter], steps: range = range(5)
) -> None:
    for step in steps:
        set_gradients(params, step)
        optimizer.step()


def copies(params: Sequence[nn.Parameter]) -> list[nn.Parameter]:
    return [nn.Parameter(p.detach().clone()) for p in params]
