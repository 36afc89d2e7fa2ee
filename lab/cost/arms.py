"""What is compared: one network, one optimizer, and several ways to make an update with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mmengine.optim import OptimWrapper
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from agvm_mm.wrappers import AGVMOptimWrapper

from .authors import AuthorsScheme

PLAIN = 'ddp'
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    'all_pairs, every step': dict(interval=1),
    'all_pairs, every step, measuring only': dict(interval=1, apply=False),
    'all_pairs, every 10': dict(interval=10),
    'all_pairs, every 10, measuring only': dict(interval=10, apply=False),
    'half_split, every 10': dict(interval=10, estimator='half_split'),
}
AUTHORS_INTERVAL = 10

Step = Callable[[Any, bool], None]


@dataclass(frozen=True)
class Case:
    """One kind of step of one arm.

    Args:
        arm: name of the arm.
        estimating: whether the step estimates.
        interval: updates between two estimates; 0 for never.
        step: makes the update on one batch.
    """

    arm: str
    estimating: bool
    interval: int
    step: Callable[[Any], None]


def build_cases(model: DistributedDataParallel, optimizer: Optimizer) -> list[Case]:
    """All cases, plain DDP first and a second time last: the two differ by noise alone.

    Must be called on all ranks at the same point.
    """
    plain = _plain(model, optimizer)
    cases = [_case(PLAIN, 0, plain, False)]
    for name, settings in SETTINGS.items():
        step, interval = _agvm(model, optimizer, settings), settings['interval']
        cases.append(_case(name, interval, step, True))
        if interval > 1:
            cases.append(_case(name, interval, step, False))
    authors = AuthorsScheme(model, optimizer)
    cases += [
        _case("the authors' scheme", AUTHORS_INTERVAL, authors.step, estimating)
        for estimating in (True, False)
    ]
    return [*cases, _case(f'{PLAIN}, again', 0, plain, False)]


def _case(arm: str, interval: int, step: Step, estimating: bool) -> Case:
    return Case(arm, estimating, interval, lambda data: step(data, estimating))


def _plain(model: DistributedDataParallel, optimizer: Optimizer) -> Step:
    wrapper = OptimWrapper(optimizer)
    train_step: Any = model.train_step
    return lambda data, _: train_step(data, wrapper)


def _agvm(
    model: DistributedDataParallel, optimizer: Optimizer, settings: Mapping[str, Any]
) -> Step:
    wrapper = AGVMOptimWrapper(optimizer, agvm=settings)
    wrapper.initialize_count_status(model, 0, -1)
    train_step: Any = model.train_step

    def step(data: Any, estimating: bool) -> None:
        # The clock decides whether this is an estimation step, so cases can be taken in any order.
        wrapper.updates = 0 if estimating else 1
        train_step(data, wrapper)

    return step
