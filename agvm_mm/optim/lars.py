"""LARS from pytorch_optimizer, which is only needed to build it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from mmengine.registry import OPTIMIZERS
from torch.optim import Optimizer

from .closure import Closure, evaluate
from .library import import_library
from .parameterwise import register_parameterwise


def build_lars(
    params: Any,
    lr: float,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    trust_coefficient: float = 1e-3,
    nesterov: bool = False,
) -> Optimizer:
    """Builds LARS: momentum SGD with a trust ratio for every weight tensor.

    ``ratio = trust_coefficient * ||w|| / (||g|| + weight_decay * ||w||)``;
    ``v <- momentum * v + ratio * (g + weight_decay * w)``;  ``w <- w - lr * v``

    A weight whose gradient is 0 decays by the same ratio, ``trust_coefficient / weight_decay``.
    The ratio is 1 for biases and norm scales, which are not decayed.

    Deviations: the published algorithm keeps ``lr`` inside ``v``; outside, as in
    ``torch.optim.SGD``, a changed ``lr`` acts at once. Its ratio is 0 for a weight that is 0, which
    could then never move; here it is 1.

    Args:
        params: Parameters, or dicts of them with options of their own.
        lr: Learning rate; biases and norm scales use it without the ratio.
        momentum: Momentum of ``v``.
        weight_decay: Coefficient of ``w`` in the direction.
        trust_coefficient: Length of a step relative to the weight, per unit of ``lr``.
        nesterov: Whether to use Nesterov momentum.

    Raises:
        ImportError: If pytorch_optimizer is not installed.

    References:
        You, Gitman, Ginsburg, "Large Batch Training of Convolutional Networks", 2017,
        arXiv:1708.03888, Algorithm 1.
    """
    return _library_class()(
        params,
        lr=lr,
        momentum=momentum,
        weight_decay=weight_decay,
        trust_coefficient=trust_coefficient,
        nesterov=nesterov,
    )


OPTIMIZERS.register_module(name='LARSOptimizer', module=build_lars)


@cache
def _library_class() -> Callable[..., Optimizer]:
    """The library's LARS, made to leave the gradients as they were."""
    library = import_library('LARSOptimizer')

    @register_parameterwise
    class LARS(library.LARS):  # type: ignore[name-defined]
        def step(self, closure: Closure | None = None) -> Any:
            loss = evaluate(closure)
            with _gradients_kept(self):
                super().step()
            return loss

    return LARS


@contextmanager
def _gradients_kept(optimizer: Optimizer) -> Iterator[None]:
    """Lets the optimizer work on copies of the gradients; the library writes the update there."""
    parameters = [p for group in optimizer.param_groups for p in group['params']]
    gradients = [p.grad for p in parameters]
    try:
        for parameter, gradient in zip(parameters, gradients):
            parameter.grad = None if gradient is None else gradient.clone()
        yield
    finally:
        for parameter, gradient in zip(parameters, gradients):
            parameter.grad = gradient
