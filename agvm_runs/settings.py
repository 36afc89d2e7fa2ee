"""The ``agvm=dict(...)`` of a config, checked; of a training and of a run that is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from . import checks
from .checks import any_of, is_count, is_number, is_one_of, require_known

ESTIMATORS = ('all_pairs', 'half_split')
DIVISIONS = ('default', 'children')
AVERAGES = ('moments', 'scale')
WHERE = 'optim_wrapper.agvm'
BY_KFAC = 'kfac'


def require(holds: bool, key: str, value: Any, allowed: str, where: str = WHERE) -> None:
    """Stop with one sentence about a key of ``agvm``."""
    checks.require(holds, key, value, allowed, where)


@dataclass(frozen=True)
class AGVMSettings:
    """Keys of ``agvm``; lengths are counted in optimizer updates, from 0.

    Args:
        anchor: the module whose scale is 1.
        modules: None or 'default', 'children' for the model's top-level children, or
            ``{name: [prefixes]}``.
        estimator: 'all_pairs' or 'half_split'.
        average: 'moments' or 'scale'; None picks 'moments' for all_pairs, 'scale' for half_split.
        interval: estimate on every update that is a multiple of it.
        begin: first update that may estimate; scales apply from here on.
        end: no estimate from this update on, the scales are held; None for never.
        momentum: weight of the past in the moving average, in [0, 1).
        clamp: bounds on the ratio of normalised variances, before the square root.
        eps: added to both normalised variances.
        precondition: measure the gradient as the optimizer's second moment scales it; 'kfac': as
            K-FAC turns and scales it, with 'half_split' alone.
        apply: False to measure and log only.
    """

    anchor: str = 'backbone'
    modules: Mapping[str, Sequence[str]] | str | None = None
    estimator: str = 'all_pairs'
    average: str | None = None
    interval: int = 10
    begin: int = 0
    end: int | None = None
    momentum: float = 0.97
    clamp: Sequence[float] = (0.5, 10.0)
    eps: float = 1e-6
    precondition: bool | str = False
    apply: bool = True

    def __post_init__(self) -> None:
        require(isinstance(self.anchor, str), 'anchor', self.anchor, 'the name of a module')
        require(
            _is_module_map(self.modules),
            'modules',
            self.modules,
            f'None, {any_of(DIVISIONS)}, or a dict from module name to a list of '
            'parameter-name prefixes',
        )
        require(
            is_one_of(self.estimator, ESTIMATORS),
            'estimator',
            self.estimator,
            any_of(ESTIMATORS),
        )
        require(
            self.average is None or is_one_of(self.average, AVERAGES),
            'average',
            self.average,
            f'None or {any_of(AVERAGES)}',
        )
        require(
            is_count(self.interval, 1),
            'interval',
            self.interval,
            "a whole number of updates, at least 1, or 'by_batch' with agvm_mm's launch",
        )
        require(
            is_count(self.begin, 0),
            'begin',
            self.begin,
            "a whole number of updates, at least 0, or 'after_warmup' with agvm_mm's launch",
        )
        require(
            self.end is None or is_count(self.end, self.begin + 1),
            'end',
            self.end,
            f'None or a whole number of updates above begin ({self.begin})',
        )
        require(
            is_number(self.momentum) and 0 <= self.momentum < 1,
            'momentum',
            self.momentum,
            'a number in [0, 1)',
        )
        require(
            _is_interval(self.clamp), 'clamp', self.clamp, 'two positive numbers, the smaller first'
        )
        require(is_number(self.eps) and self.eps > 0, 'eps', self.eps, 'a positive number')
        require(isinstance(self.apply, bool), 'apply', self.apply, 'True or False')
        # All pairs would need the inverses of every layer on every rank.
        by_kfac = is_one_of(self.precondition, [BY_KFAC]) and self.estimator == 'half_split'
        require(
            isinstance(self.precondition, bool) or by_kfac,
            'precondition',
            self.precondition,
            f"True or False, or {BY_KFAC!r} with estimator='half_split'",
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> AGVMSettings:
        """Settings from a config's dict; the dict is not kept.

        Raises:
            ValueError: an unknown key or a value outside its range.
        """
        require_known(values, [field.name for field in fields(cls)], WHERE)
        return cls(**values)

    @property
    def averaging(self) -> str:
        """The order of averaging in force."""
        return self.average or ('moments' if self.estimator == 'all_pairs' else 'scale')

    @property
    def memories(self) -> int:
        """Multiples of 1 / (1 - momentum) estimates after which the averages have settled.

        An average of momentum m weighs the last 1 / (1 - m) estimates. With 'scale' it starts at 1,
        which still weighs 5 % after three times as many.
        """
        return 3 if self.averaging == 'scale' else 1

    def estimation_steps(self, updates: int) -> range:
        """The estimation steps among the first ``updates``."""
        first = -(-self.begin // self.interval) * self.interval
        return range(first, updates if self.end is None else min(updates, self.end), self.interval)

    def estimates_at(self, update: int) -> bool:
        """Whether ``update`` is an estimation step."""
        return (
            update % self.interval == 0
            and update >= self.begin
            and (self.end is None or update < self.end)
        )

    def applies_at(self, update: int) -> bool:
        """Whether learning rates are scaled on ``update``."""
        return self.apply and update >= self.begin


def _is_module_map(value: Any) -> bool:
    if value is None or is_one_of(value, DIVISIONS):
        return True
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(
            isinstance(name, str)
            and isinstance(prefixes, (list, tuple))
            and len(prefixes) > 0
            and all(isinstance(prefix, str) and prefix for prefix in prefixes)
            for name, prefixes in value.items()
        )
    )


def _is_interval(value: Any) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) == 2
        and all(is_number(bound) for bound in value)
        and 0 < value[0] <= value[1]
    )
