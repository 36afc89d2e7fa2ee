"""Other parameter groups for the length of one ``optimizer.step()``.

Schedulers, checkpoints, clipping and logs must see the groups that the config made. So the
optimizer's ``param_groups`` are exchanged for others while it steps, and the original list is put
back, also when the step raises. Optimizer state is keyed by parameter and does not notice.

Groups with equal options are joined on the way. MMEngine makes one group of every parameter as soon
as ``paramwise_cfg`` is set, and an optimizer that works on lists of tensors (``foreach``) would be
given lists of one. Only classes that are known to step parameter by parameter are joined: others
may take a norm, a step size or a random number of a whole group, and would step otherwise.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import LBFGS, Optimizer

Group = dict[str, Any]
Part = tuple[int, Group]
"""A group for the step and the position of the group that it was cut from."""

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


@contextmanager
def shown(optimizer: Optimizer, groups: list[Group]) -> Iterator[None]:
    """Let what runs inside the context see ``groups``, though others are exchanged for them.

    Clipping adds up norms in the order of the groups, and the last digit depends on it.
    """
    present = optimizer.param_groups
    if present is groups:
        yield
        return
    optimizer.param_groups = groups
    try:
        yield
    finally:
        optimizer.param_groups = present


@contextmanager
def merged(optimizer: Optimizer) -> Iterator[None]:
    """Join groups of equal options, where the optimizer steps parameter by parameter."""
    with exchanged(optimizer, list(enumerate(optimizer.param_groups))):
        yield


@contextmanager
def exchanged(optimizer: Optimizer, parts: Sequence[Part]) -> Iterator[None]:
    """Let the optimizer step with ``parts``; those of equal options joined, where that is the same.

    Raises:
        RuntimeError: the step changed options in a way that its groups can't take over.
    """
    groups = optimizer.param_groups
    if is_parameterwise(optimizer):
        joined, places = join(parts)
    else:
        joined, places = [part for _, part in parts], list(range(len(parts)))
    if len(joined) == len(groups) and all(part is groups[i] for i, part in parts):
        yield
        return
    rates = [group['lr'] for group in joined]
    optimizer.param_groups = joined
    try:
        yield
    finally:
        optimizer.param_groups = groups
    if any(group['lr'] is not rate for group, rate in zip(joined, rates)):
        raise RuntimeError(
            f'{type(optimizer).__name__} changed `lr` in its parameter groups during step(), '
            'which AGVM cannot carry over; switch that off or use another optimizer.'
        )
    stepped: dict[int, list[Group]] = {}
    for (origin, _), place in zip(parts, places):
        stepped.setdefault(origin, []).append(joined[place])
    for origin, pieces in stepped.items():
        _copy_back(optimizer, groups[origin], pieces)


def join(parts: Sequence[Part]) -> tuple[list[Group], list[int]]:
    """Groups of equal options as one; and for every part the position of its group."""
    joined: list[Group] = []
    places: list[int] = []
    position: dict[Hashable, int] = {}
    for _, part in parts:
        key = frozenset((name, _key(value)) for name, value in part.items() if name != 'params')
        place = position.setdefault(key, len(joined))
        if place == len(joined):
            joined.append({**part, 'params': []})
        joined[place]['params'].extend(part['params'])
        places.append(place)
    return joined, places


def keeps_own_groups(optimizer: Optimizer) -> bool:
    """Whether the optimizer steps with groups of its own, whatever ``param_groups`` says."""
    return isinstance(optimizer, LBFGS) or type(optimizer).__name__ == 'ZeroRedundancyOptimizer'


def inner_optimizer(optimizer: Optimizer) -> tuple[str, Optimizer] | None:
    """The attribute that holds a wrapped optimizer, and that optimizer."""
    inner = ((name, v) for name, v in vars(optimizer).items() if isinstance(v, Optimizer))
    return next(inner, None)


def _key(value: Any) -> Hashable:
    """What two equal options share; a tensor or a list is equal to itself alone."""
    plain = value is None or isinstance(value, (bool, int, float, str))
    if plain or (isinstance(value, tuple) and all(isinstance(v, (int, float)) for v in value)):
        return type(value).__name__, value
    return id(value)


def _copy_back(optimizer: Optimizer, group: Group, pieces: Sequence[Group]) -> None:
    """Keep what the step wrote into its groups, such as a step counter."""
    for key, value in pieces[0].items():
        if key in ('params', 'lr') or all(piece.get(key) is group.get(key) for piece in pieces):
            continue
        if not all(_same(piece.get(key), value) for piece in pieces):
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
