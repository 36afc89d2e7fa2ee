"""Learning rates scaled for the length of one ``optimizer.step()``.

Schedulers, checkpoints and logs must see only the base learning rate. So the optimizer's
``param_groups`` are exchanged for a copy that is split by module, with scaled rates, and the
original list is put back, also when the step raises. Optimizer state is keyed by parameter and
does not notice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer

Piece = tuple[int, 'list[nn.Parameter]']


class LearningRatePlan:
    """Splits the groups of an optimizer by module.

    Args:
        optimizer: any optimizer whose step reads ``param_groups``.
        module_of: module index by ``id(parameter)``.

    Raises:
        ValueError: an optimizer whose groups can't be exchanged.
    """

    def __init__(self, optimizer: Optimizer, module_of: Mapping[int, int]) -> None:
        _require_exchangeable(optimizer)
        self._optimizer = optimizer
        self._module_of = module_of
        self._pieces: list[list[Piece]] = []
        self._layout: tuple[tuple[int, int], ...] = ()

    def pieces(self) -> list[list[Piece]]:
        """For each group, its parameters by module; frozen ones go with the first module."""
        groups = self._optimizer.param_groups
        layout = tuple((id(group['params']), len(group['params'])) for group in groups)
        if layout != self._layout:
            self._pieces = [self._split(group['params']) for group in groups]
            self._layout = layout
        return self._pieces

    def base_rates(self, modules: int) -> list[float]:
        """The highest base learning rate among each module's groups."""
        rates = [0.0] * modules
        for group, pieces in zip(self._optimizer.param_groups, self.pieces()):
            for module, _ in pieces:
                rates[module] = max(rates[module], float(group['lr']))
        return rates

    @contextmanager
    def scaled(self, factors: Sequence[float]) -> Iterator[None]:
        """Multiply every module's learning rate by its factor inside the context."""
        if all(factor == 1.0 for factor in factors):
            yield
            return
        groups = self._optimizer.param_groups
        plan = [
            [
                {**group, 'params': parameters, 'lr': group['lr'] * factors[module]}
                for module, parameters in pieces
            ]
            for group, pieces in zip(groups, self.pieces())
        ]
        rates = [[part['lr'] for part in parts] for parts in plan]
        self._optimizer.param_groups = [part for parts in plan for part in parts]
        try:
            yield
        finally:
            self._optimizer.param_groups = groups
        for group, parts, given in zip(groups, plan, rates):
            _copy_back(self._optimizer, group, parts, given)

    def _split(self, parameters: Sequence[nn.Parameter]) -> list[Piece]:
        by_module: dict[int, list[nn.Parameter]] = {}
        for parameter in parameters:
            by_module.setdefault(self._module_of.get(id(parameter), 0), []).append(parameter)
        return sorted(by_module.items())


def _require_exchangeable(optimizer: Optimizer) -> None:
    kind = type(optimizer)
    if isinstance(optimizer, LBFGS) or kind.__name__ == 'ZeroRedundancyOptimizer':
        raise ValueError(
            f'optim_wrapper.optimizer.type is {kind.__name__}, which keeps its own copy of the '
            'parameter groups, so AGVM cannot scale its learning rates; allowed is an optimizer '
            'that reads param_groups in step(), such as SGD or AdamW.'
        )
    for name, value in vars(optimizer).items():
        if isinstance(value, Optimizer):
            raise ValueError(
                f'optim_wrapper.optimizer.type is {kind.__name__}, which wraps another optimizer '
                f'({name}: {type(value).__name__}), so AGVM cannot scale its learning rates; use '
                'the inner one.'
            )


def _copy_back(
    optimizer: Optimizer, group: dict[str, Any], parts: list[dict[str, Any]], rates: list[Any]
) -> None:
    """Keep what the step wrote into its groups, such as a step counter."""
    if any(part['lr'] is not rate for part, rate in zip(parts, rates)):
        raise RuntimeError(
            f'{type(optimizer).__name__} changed `lr` in its parameter groups during step(), '
            'which AGVM cannot carry over; switch that off or use another optimizer.'
        )
    for key, value in parts[0].items() if parts else ():
        if key in ('params', 'lr') or all(part.get(key) is group.get(key) for part in parts):
            continue
        if not all(_same(part.get(key), value) for part in parts):
            raise RuntimeError(
                f'{type(optimizer).__name__} keeps {key!r} in its parameter groups and changed it '
                'differently for two modules of one group; give every module a group of its own '
                'with optim_wrapper.paramwise_cfg.custom_keys.'
            )
        group[key] = value


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return isinstance(a, Tensor) and isinstance(b, Tensor) and torch.equal(a, b)
    return bool(a == b)
