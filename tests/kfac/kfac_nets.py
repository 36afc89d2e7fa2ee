"""One measurement of one small network."""

from __future__ import annotations

from typing import Any, Callable

from torch import Tensor, nn

from agvm_mm.gradients import SingleProcess
from agvm_mm.kfac import KFAC, KFACSettings


def kfac_of(network: nn.Module, **settings: Any) -> KFAC:
    options = dict(momentum=0.0, statistics_interval=1, inverse_interval=1, damping=0.1)
    return KFAC(network, KFACSettings(**{**options, **settings}), SingleProcess())


def measured_factors(
    network: nn.Module,
    inputs: Any,
    loss_of: Callable[[Tensor], Tensor],
    images: int | None = None,
    **settings: Any,
) -> KFAC:
    """After one backward pass and measurement, before the gradients are replaced."""
    kfac = kfac_of(network, **settings)
    loss = loss_of(network(inputs))
    with kfac.capture(0, 1, len(inputs) if images is None else images):
        loss.backward()
    assert kfac._measure()
    kfac._capture.reset()
    return kfac
