"""Layers that are wrapped, tied, frozen or called in odd ways, and networks drawn from them."""

from __future__ import annotations

import random
from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

SIZE = 4
Call = Callable[[Tensor], Tensor]


class Odd(nn.Linear):
    """Changes its weight in the forward pass."""

    def forward(self, values: Tensor) -> Tensor:
        return functional.linear(values, 2 * self.weight, self.bias)


class Namesake(nn.Linear):
    """Another package's Linear, with a weight that is changed in the forward pass."""

    forward = Odd.forward


Namesake.__name__ = 'Linear'


def _replaced(self: nn.Linear, values: Tensor) -> Tensor:
    return functional.linear(values, 2 * self.weight, self.bias)


def _linear(**options: Any) -> nn.Linear:
    return nn.Linear(SIZE, SIZE, **options)


def _convolution() -> nn.Conv2d:
    return nn.Conv2d(1, SIZE, 2)


def _patched() -> nn.Module:
    module = _linear()
    module.forward = MethodType(_replaced, module)
    return module


def _partly() -> nn.Module:
    module = _linear()
    module.bias.requires_grad_(False)
    return module


def _doubled() -> nn.Module:
    module = _linear()
    module.register_forward_hook(lambda _, args, output: 2 * output)
    return module


# By kind: how the layer is made, and what K-FAC says of it; None where it is preconditioned.
KINDS: dict[str, tuple[Callable[[], nn.Module], str | None]] = {
    'linear': (_linear, None),
    'without bias': (lambda: _linear(bias=False), None),
    'layer norm': (lambda: nn.LayerNorm(SIZE), None),
    'group norm': (lambda: nn.GroupNorm(2, SIZE), None),
    'keyword': (_linear, None),
    'twice': (_linear, None),
    'on single images': (_linear, None),
    'norm of single images': (lambda: nn.LayerNorm(SIZE), None),
    'hooked': (_doubled, None),
    'sequence': (_linear, None),
    'convolution': (_convolution, None),
    'functional convolution': (_convolution, 'used without a call of their module'),
    'weight norm of a convolution': (
        lambda: weight_norm(_convolution()),
        'computed from weight_g, weight_v',
    ),
    'functional': (_linear, 'used without a call of their module'),
    'weight norm': (lambda: weight_norm(_linear()), 'computed from weight_g, weight_v'),
    'spectral norm': (lambda: spectral_norm(_linear()), 'computed from weight_orig'),
    'pruned': (
        lambda: prune.l1_unstructured(_linear(), 'weight', amount=0.3),
        'computed from weight_orig',
    ),
    'pruned bias': (
        lambda: prune.l1_unstructured(_linear(), 'bias', amount=0.5),
        'computed from bias_orig',
    ),
    'parametrized': (lambda: parametrizations.weight_norm(_linear()), 'parametrization'),
    'orthogonal': (lambda: parametrizations.orthogonal(_linear()), 'parametrization'),
    'child': (lambda: Odd(SIZE, SIZE), 'Odd is not known'),
    'namesake': (lambda: Namesake(SIZE, SIZE), 'Linear of odd_layers is not known'),
    'patched': (_patched, 'a forward method of its own'),
    'partly frozen': (_partly, 'frozen in part'),
}


def call(kind: str, module: nn.Module, values: Tensor, inplace: bool) -> Tensor:
    """One use of a layer of that kind, with activations in place where one follows."""
    images = values.reshape(-1, 1, 2, 2)
    if kind == 'keyword':
        output: Tensor = module(input=values)
    elif kind == 'functional':
        output = functional.linear(values, module.weight, module.bias)
    elif kind == 'twice':
        output = module(torch.tanh(module(values)))
    elif kind == 'sequence':  # whose output is a view
        output = functional.relu(module(values[:, None]), inplace)[:, 0]
    elif kind == 'functional convolution':
        output = functional.conv2d(images, module.weight, module.bias).flatten(1)
    elif kind.endswith('convolution'):
        output = functional.relu(module(images), inplace).flatten(1)
    elif kind.endswith('single images'):
        output = torch.stack([module(value) for value in values])
    else:
        output = module(values)
    return output


class OddNet(BaseModel):
    """Layers of the given kinds one after the other, each with a residual connection."""

    def __init__(self, kinds: list[str], inplace: bool = True) -> None:
        super().__init__()
        self.kinds = kinds
        self.inplace = inplace
        self.layers = nn.ModuleList([KINDS[kind][0]() for kind in kinds])
        self.head = nn.Linear(SIZE, 2)

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        values = inputs
        for kind, layer in zip(self.kinds, self.layers):
            values = torch.tanh(values + call(kind, layer, values, self.inplace))
        return dict(loss=(self.head(values) - data_samples).square().sum(1).mean())


def random_kinds(seed: int) -> list[str]:
    """Two to six kinds."""
    draw = random.Random(seed)
    return [draw.choice(list(KINDS)) for _ in range(draw.randint(2, 6))]


def odd_batch(update: int, images: range, dtype: torch.dtype) -> dict[str, Any]:
    """Images of an update by number, whichever rank they go to."""
    generators = [torch.Generator().manual_seed(1000 * update + image) for image in images]
    return dict(
        inputs=torch.stack([torch.randn(SIZE, generator=g) for g in generators]).to(dtype),
        data_samples=torch.stack([torch.randn(2, generator=g) for g in generators]).to(dtype),
    )
