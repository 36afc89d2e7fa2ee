"""Optimizer classes that step every parameter by its own gradient, state and group options."""

from __future__ import annotations

import torch
from torch.optim import Optimizer

# All but LBFGS; old versions lack some.
_OF_TORCH = (
    'ASGD',
    'Adadelta',
    'Adafactor',
    'Adagrad',
    'Adam',
    'AdamW',
    'Adamax',
    'Muon',
    'NAdam',
    'RAdam',
    'RMSprop',
    'Rprop',
    'SGD',
    'SparseAdam',
)
_PARAMETERWISE = {getattr(torch.optim, name) for name in _OF_TORCH if hasattr(torch.optim, name)}


def register_parameterwise(optimizer: type[Optimizer]) -> type[Optimizer]:
    """Declare that a class steps every parameter by its own gradient, state and group options.

    It does not hold for subclasses, which may do something else.
    """
    _PARAMETERWISE.add(optimizer)
    return optimizer


def is_parameterwise(optimizer: Optimizer) -> bool:
    """Whether the class is known to step parameter by parameter."""
    return type(optimizer) in _PARAMETERWISE
