"""Other parameter groups for the length of one ``optimizer.step()``.

Schedulers, checkpoints, clipping and logs must see the groups of the config. Therefore the
optimizer's ``param_groups`` are exchanged for others only while it steps, and the original list is
put back, also when the step raises. Optimizer state is keyed by parameter and is not affected.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from operator import is_
from typing import Any

import torch
from torch import Tensor
from torch.optim import LBFGS, Optimizer

from agvm_runs.checks import require

from ..optimizers.parameterwise import is_parameterwise
from .part import Part, Pass, Run

Group = dict[str, Any]
OF_A_STEP = ('params', 'lr')
Origin = tuple[int, Group]
"""The position of a group, and a group that steps in its place."""


class JoinedGroupsPart(Part):
    """Joins groups of equal options for the step.

    With ``paramwise_cfg``, MMEngine puts every parameter into a group of its own, so an optimizer
    that works on lists of tensors (``foreach``) would get lists of one.

    Args:
        value: True, or None for no part.
    """

    key = 'join_groups'
    title = 'joining of parameter groups'
    where = 'optim_wrapper.join_groups'
    needs_model = False

    _optimizer: Optimizer | None = None
    _layout: JoinedLayout

    @classmethod
    def from_config(cls, value: Any) -> JoinedGroupsPart | None:
        """The part for True; None for False and None."""
        ok = value is None or isinstance(value, bool)
        require(ok, 'join_groups', value, 'True, False or None', 'optim_wrapper')
        return cls(value) if value else None

    def bind(self, run: Run) -> None:
        """Keep the optimizer."""
        self._optimizer = run.optimizer
        self._layout = JoinedLayout()

    def around_step(self, this: Pass) -> AbstractContextManager[None]:
        """Let the optimizer step with joined groups."""
        return nullcontext() if self._optimizer is None else joined(self._optimizer, self._layout)


def joined(optimizer: Optimizer, layout: JoinedLayout) -> AbstractContextManager[None]:
    """Let the optimizer step with its groups of equal options joined.

    This happens only for classes that are known to step every parameter by itself. Others may use a
    norm, a step size or a random number of a whole group, and joining would change their step.
    """
    if not is_parameterwise(optimizer):
        return nullcontext()
    groups, places = layout.join(optimizer.param_groups)
    if len(groups) == len(places):
        return nullcontext()
    return exchanged(optimizer, groups, [(i, groups[place]) for i, place in enumerate(places)])


@contextmanager
def shown(optimizer: Optimizer, groups: list[Group]) -> Iterator[None]:
    """Show ``groups`` to the code inside the context, while others are exchanged for them."""
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
def exchanged(
    optimizer: Optimizer, stepped: list[Group], origins: Sequence[Origin]
) -> Iterator[None]:
    """Let the optimizer step with ``stepped`` in the place of its groups.

    Args:
        optimizer: any that reads ``param_groups`` in its step.
        stepped: the groups for the step.
        origins: for each group of the optimizer, by position, the groups that step for it.

    Raises:
        RuntimeError: the step changed options in a way that cannot be copied to the groups.
    """
    groups, before = optimizer.param_groups, [dict(group) for group in stepped]
    optimizer.param_groups = stepped
    try:
        yield
    finally:
        optimizer.param_groups = groups
    if any(group['lr'] is not old['lr'] for group, old in zip(stepped, before)):
        raise RuntimeError(
            f'{type(optimizer).__name__} changed `lr` in its parameter groups during step(), '
            'which AGVM cannot carry over; switch that off or use another optimizer.'
        )
    changed = {id(group) for group, old in zip(stepped, before) if not _unchanged(group, old)}
    pieces: dict[int, list[Group]] = {}
    for origin, group in origins:
        if id(group) in changed:
            pieces.setdefault(origin, [])
    for origin, group in origins:
        if origin in pieces:
            pieces[origin].append(group)
    for origin, stepped_for_it in pieces.items():
        _copy_back(optimizer, groups[origin], stepped_for_it)


class JoinedLayout:
    """Which groups of an optimizer are joined, kept from step to step.

    Learning rates change often and are compared at every step. The groups that agree in everything
    else are found once, and again when a value has been replaced.
    """

    def __init__(self) -> None:
        self._names: list[tuple[str, ...]] = []
        self._values: list[Any] = []
        self._kinds: list[int] = []

    def join(self, groups: Sequence[Group]) -> tuple[list[Group], list[int]]:
        """Groups of equal options as one; and for every group the position of the joined one."""
        joined: list[Group] = []
        places: list[int] = []
        position: dict[Hashable, int] = {}
        for kind, group in zip(self._kinds_of(groups), groups):
            place = position.setdefault((kind, _key(group.get('lr'))), len(joined))
            if place == len(joined):
                joined.append({**group, 'params': []})
            joined[place]['params'].extend(group['params'])
            places.append(place)
        return joined, places

    def _kinds_of(self, groups: Sequence[Group]) -> list[int]:
        """For every group a number, equal for those that differ in the learning rate alone."""
        names = [tuple(group) for group in groups]
        values = [v for group in groups for name, v in group.items() if name not in OF_A_STEP]
        # They are kept, so that no new value gets the place of an old one.
        same = names == self._names and all(map(is_, values, self._values))
        if not same:
            numbers: dict[Hashable, int] = {}
            self._kinds = [numbers.setdefault(_options(group), len(numbers)) for group in groups]
            self._names, self._values = names, values
        return self._kinds


def _options(group: Group) -> Hashable:
    return frozenset((name, _key(v)) for name, v in group.items() if name not in OF_A_STEP)


def _unchanged(group: Group, before: Group) -> bool:
    return len(group) == len(before) and all(map(is_, group.values(), before.values()))


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
