"""Which way the momentum of an average of weights counts: the averager itself is asked."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from mmengine.registry import MODELS
from torch import nn

from .rules import weight_of_new, weight_of_past

PROBE = 0.25
LATE = 10**9  # steps after which a momentum that changes has reached its last value


class Momentum(NamedTuple):
    """Momentum of an averager: its default and the rule by which it follows the batch."""

    default: float
    rule: Callable[[float, float], float]


def momentum_of(ema_type: Any, scope: str) -> Momentum | None:
    """How the momentum of the averager ``ema_type`` follows the batch.

    One average of 0 and 1 with momentum 0.25 tells: it is 0.25 where the momentum is the weight of
    the new value, as in MMEngine, and 0.75 where it is the weight of the past.

    Args:
        ema_type: name or class of a ``BaseAveragedModel``.
        scope: ``default_scope`` of the config.

    Returns:
        None for an averager that has no momentum or answers otherwise.
    """
    cls = _find(ema_type, scope)
    known = inspect.signature(cls).parameters if cls is not None else {}
    if cls is None or 'momentum' not in known:
        return None
    average = torch.zeros(1)
    try:
        averager = cls(nn.Linear(1, 1), momentum=PROBE)
        averager.steps.fill_(LATE)
        averager.avg_func(average, torch.ones(1), averager.steps)
    except (AttributeError, TypeError):
        return None
    default = known['momentum'].default
    for weight, rule in ((PROBE, weight_of_new), (1 - PROBE, weight_of_past)):
        if math.isclose(average.item(), weight, rel_tol=1e-5) and isinstance(default, float):
            return Momentum(default, rule)
    return None


def _find(ema_type: Any, scope: str) -> Callable[..., Any] | None:
    if not isinstance(ema_type, str):
        return ema_type if callable(ema_type) else None
    with MODELS.switch_scope_and_registry(scope) as registry:
        found: Callable[..., Any] | None = registry.get(ema_type)
    return found
