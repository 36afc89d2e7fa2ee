"""Adan from pytorch_optimizer, which is only needed to build it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from torch.optim import Optimizer

from ..compat import register_optimizer
from .library import import_library
from .parameterwise import register_parameterwise
from .second_moments import SecondMoment, register_second_moment


def build_adan(
    params: Any,
    lr: float = 1e-3,
    betas: Sequence[float] = (0.98, 0.92, 0.99),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    no_prox: bool = False,
    max_grad_norm: float = 0.0,
) -> Optimizer:
    """Builds Adan: adaptive Nesterov momentum with the difference of successive gradients.

    ``m, v, n`` are moving averages of ``g``, ``d = g - g_previous`` and ``(g + beta2 * d)**2``;
    ``u = lr * (m_hat + beta2 * v_hat) / (sqrt(n_hat) + eps)``;
    ``w <- (w - u) / (1 + lr * weight_decay)``

    The step counter of the bias correction belongs to the parameter group.

    Args:
        params: Parameters, or dicts of them with options of their own.
        lr: Learning rate.
        betas: Decay rates of ``m``, ``v`` and ``n``; the paper's betas are 1 minus these.
        eps: Added to the root of the second moment.
        weight_decay: Decay coefficient, proximal as in the paper.
        no_prox: Whether to decay as AdamW does, ``w <- w * (1 - lr * weight_decay) - u``.
        max_grad_norm: Only 0 is allowed; it exists to point to ``optim_wrapper.clip_grad``.

    Raises:
        ImportError: If pytorch_optimizer is not installed.
        ValueError: If ``max_grad_norm`` is not 0.

    References:
        Xie et al., "Adan: Adaptive Nesterov Momentum Algorithm for Faster Optimizing Deep Models",
        TPAMI 2024, arXiv:2208.06677.
    """
    if max_grad_norm != 0:
        raise ValueError(
            f'max_grad_norm={max_grad_norm} of AdanOptimizer must be 0; '
            'set optim_wrapper.clip_grad=dict(max_norm=...) instead.'
        )
    optimizer: Optimizer = _library_class()(
        params,
        lr=lr,
        betas=tuple(betas),
        eps=eps,
        weight_decay=weight_decay,
        weight_decouple=no_prox,
        foreach=True,  # the other path of the library negates p.grad
    )
    return optimizer


register_optimizer(build_adan, 'AdanOptimizer')


@cache
def _library_class() -> Callable[..., Optimizer]:
    """The library's Adan, never built with its clipping by the norm of all gradients."""
    library = import_library('AdanOptimizer')

    @register_parameterwise
    class Adan(library.Adan):  # type: ignore[name-defined]
        pass

    register_second_moment(library.Adan, SecondMoment('exp_avg_sq', beta=2))
    return Adan


def restart_adan(optimizer: Optimizer) -> None:
    """Forgets Adan's averages, as the authors do for their restart strategy.

    The next step is a first step: zero averages, zero difference, step counter 1.
    """
    optimizer.state.clear()
    for group in optimizer.param_groups:
        group['step'] = 0
