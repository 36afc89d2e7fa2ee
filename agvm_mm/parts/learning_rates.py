"""Learning rates scaled for the length of one ``optimizer.step()``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from .groups import exchanged, inner_optimizer, keeps_own_groups

Piece = tuple[int, 'list[nn.Parameter]']


class LearningRatePlan:
    """Splits the groups of an optimizer by module and scales their rates.

    Args:
        optimizer: any optimizer whose step reads ``param_groups``.
        module_of: module index by ``id(parameter)``.
        other: module of a parameter that is not in ``module_of``.

    Raises:
        ValueError: the groups of the optimizer cannot be exchanged.
    """

    def __init__(self, optimizer: Optimizer, module_of: Mapping[int, int], other: int = 0) -> None:
        _require_exchangeable(optimizer)
        self._optimizer = optimizer
        self._module_of = module_of
        self._other = other
        self._pieces: list[list[Piece]] = []
        self._layout: tuple[tuple[int, int], ...] = ()

    def pieces(self) -> list[list[Piece]]:
        """For each group, its parameters by module."""
        groups = self._optimizer.param_groups
        layout = tuple((id(group['params']), len(group['params'])) for group in groups)
        if layout != self._layout:
            self._pieces = [self._split(group['params']) for group in groups]
            self._layout = layout
        return self._pieces

    def base_rates(self, modules: int) -> list[float | Tensor]:
        """The highest base learning rate among each module's groups; a tensor where one is."""
        rates: list[float | Tensor] = [0.0] * modules
        for group, pieces in zip(self._optimizer.param_groups, self.pieces()):
            for module, _ in pieces:
                rates[module] = _higher(rates[module], group['lr'])
        return rates

    @property
    def splits_groups(self) -> bool:
        """Whether a group of the optimizer holds parameters of several modules."""
        return any(len(pieces) > 1 for pieces in self.pieces())

    @contextmanager
    def scaled(self, scales: Sequence[float]) -> Iterator[None]:
        """Multiply every module's learning rate by its scale inside the context."""
        if all(scale == 1.0 for scale in scales):
            yield
            return
        origins = [
            (i, {**group, 'params': parameters, 'lr': group['lr'] * scales[module]})
            for i, (group, pieces) in enumerate(zip(self._optimizer.param_groups, self.pieces()))
            for module, parameters in pieces
        ]
        with exchanged(self._optimizer, [piece for _, piece in origins], origins):
            yield

    def _split(self, parameters: Sequence[nn.Parameter]) -> list[Piece]:
        by_module: dict[int, list[nn.Parameter]] = {}
        for parameter in parameters:
            by_module.setdefault(self._module_of.get(id(parameter), self._other), []).append(
                parameter
            )
        return sorted(by_module.items())


def _higher(rate: float | Tensor, other: float | Tensor) -> float | Tensor:
    if isinstance(other, Tensor):  # a comparison would wait for its device
        return rate if rate is other else torch.maximum(torch.as_tensor(rate), other)
    return torch.clamp(rate, min=other) if isinstance(rate, Tensor) else max(rate, float(other))


def split_warning(optimizer: Optimizer) -> str:
    """The warning for an optimizer that may share something within a group that is split."""
    kind = type(optimizer).__name__
    return (
        f'optim_wrapper.optimizer.type is {kind}, which is not known to step every parameter by '
        'itself. AGVM splits its parameter groups by module for the step: a norm, a step size or a '
        'random number that a group shares is then computed once for each module, and a learning '
        'rate that is shared by all groups may not follow the scales. If it steps every parameter '
        f'by itself, declare that by agvm_mm.optimizers.register_parameterwise({kind}).'
    )


def _require_exchangeable(optimizer: Optimizer) -> None:
    kind = type(optimizer).__name__
    if keeps_own_groups(optimizer):
        raise ValueError(
            f'optim_wrapper.optimizer.type is {kind}, which keeps its own copy of the parameter '
            'groups, so AGVM cannot scale its learning rates; allowed is an optimizer that reads '
            'param_groups in step(), such as SGD or AdamW.'
        )
    inner = inner_optimizer(optimizer)
    if inner is not None:
        raise ValueError(
            f'optim_wrapper.optimizer.type is {kind}, which wraps another optimizer '
            f'({inner[0]}: {type(inner[1]).__name__}), so AGVM cannot scale its learning rates; '
            'use the inner optimizer.'
        )
    if any('lr' not in group for group in optimizer.param_groups):
        raise ValueError(
            f'optim_wrapper.optimizer.type is {kind}, whose parameter groups have no `lr`, so '
            'AGVM has no learning rate to scale; allowed is an optimizer with one, such as SGD or '
            'AdamW.'
        )
    made = getattr(type(optimizer), 'param_groups', None)
    if isinstance(made, property) and made.fset is None:
        raise ValueError(
            f'optim_wrapper.optimizer.type is {kind}, whose param_groups cannot be set, so AGVM '
            'cannot scale its learning rates; allowed is an optimizer whose param_groups are a '
            'plain attribute, such as SGD or AdamW.'
        )
