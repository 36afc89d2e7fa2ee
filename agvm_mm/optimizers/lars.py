"""LARS from pytorch_optimizer, which is only needed to build it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from ..compat import register_optimizer
from .buckets import Group
from .lamb import is_adapted
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
    The ratio is 1 for biases and the weights of norm layers, which are not decayed.

    Deviations: the published algorithm keeps ``lr`` inside ``v``; outside, as in
    ``torch.optim.SGD``, a changed ``lr`` acts at once. Its ratio is 0 for a weight that is 0, which
    could then never move; here it is 1.

    Args:
        params: Parameters, or dicts of them with options of their own.
        lr: Learning rate; biases and norm layers use it without the ratio.
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
        foreach=True,  # the other path of the library is not ours
    )


register_optimizer(build_lars, 'LARSOptimizer')


@cache
def _library_class() -> Callable[..., Optimizer]:
    """The library's LARS, made to leave the gradients as they were."""
    library = import_library('LARSOptimizer')

    @register_parameterwise
    class LARS(library.LARS):  # type: ignore[name-defined]
        def _step_foreach(
            self,
            group: Group,
            params: list[Tensor],
            grads: list[Tensor],
            momentum_buffers: list[Tensor],
        ) -> None:
            """As the library's, which writes the update into the gradients."""
            steps = _directions(params, grads, group)
            momentum = group['momentum']
            if momentum > 0:
                torch._foreach_mul_(momentum_buffers, momentum)
                torch._foreach_add_(momentum_buffers, steps)
                ahead = group['nesterov']
                steps = (
                    list(torch._foreach_add(steps, momentum_buffers, alpha=momentum))
                    if ahead
                    else momentum_buffers
                )
            torch._foreach_add_(params, steps, alpha=-group['lr'])

    return LARS


def _directions(params: list[Tensor], grads: list[Tensor], group: Group) -> list[Tensor]:
    """``ratio * (g + weight_decay * w)``, and the gradients themselves where nothing is adapted."""
    directions = list(grads)
    adapted = [i for i, parameter in enumerate(params) if is_adapted(parameter)]
    if not adapted:
        return directions
    weights = [params[i] for i in adapted]
    decayed = torch._foreach_add([grads[i] for i in adapted], weights, alpha=group['weight_decay'])
    weight_norms = torch.stack(list(torch._foreach_norm(weights)))
    norms = torch.stack(list(torch._foreach_norm([grads[i] for i in adapted])))
    norms = norms + group['weight_decay'] * weight_norms
    ratios = group['trust_coefficient'] * weight_norms / norms
    ratios = torch.where((weight_norms > 0) & (norms > 0), ratios, 1.0)
    torch._foreach_mul_(decayed, list(ratios.unbind()))
    for i, direction in zip(adapted, decayed):
        directions[i] = direction
    return directions
