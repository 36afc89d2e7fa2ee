"""LARS, LAMB and Adan, the large-batch optimizers that AGVM is compared with.

Registered as ``LARSOptimizer``, ``LAMBOptimizer`` and ``AdanOptimizer``: the bare names may already
be taken in MMEngine's registry (bitsandbytes brings its ``LARS`` and ``LAMB``).

LARS and Adan come from pytorch_optimizer, which is only needed to build one of these two. LAMB is
written out: pytorch_optimizer 4.1 divides its step by ``1 - beta1**t`` after the trust ratio
(ten times too long a first step) and has no bias correction of the moments.

None of them clips: clipping belongs to ``optim_wrapper.clip_grad``. All leave ``p.grad`` as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any

import torch
from mmengine.registry import OPTIMIZERS
from torch import Tensor
from torch.optim import Optimizer

from .precondition import SecondMoment, register_second_moment

Closure = Callable[[], Any]


def is_adapted(parameter: Tensor) -> bool:
    """Whether LARS and LAMB give this parameter a trust ratio and weight decay.

    Biases and norm scales (at most one dimension) get neither, the convention of both papers'
    authors: their norms say nothing about a sensible step.
    """
    return parameter.ndim > 1


@OPTIMIZERS.register_module()
class LAMBOptimizer(Optimizer):
    """Adam with a trust ratio for every weight tensor.

    ``r = m_hat / (sqrt(v_hat) + eps)``; ``d = r + weight_decay * w``;
    ``w <- w - lr * ||w|| / ||d|| * d``

    ``m_hat`` and ``v_hat`` are Adam's bias-corrected moments. The ratio is 1 where one of the norms
    is 0, and for biases and norm scales, which are not decayed either (``is_adapted``). Weight
    norms are not clamped.

    Args:
        params: Parameters, or dicts of them with options of their own.
        lr: Learning rate: the length of a step relative to the weight.
        betas: Decay rates of the two moments.
        eps: Added to the root of the second moment.
        weight_decay: Coefficient of ``w`` in the step's direction.

    Raises:
        ValueError: If an option is outside its range.

    References:
        You et al., "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes",
        ICLR 2020, arXiv:1904.00962, Algorithm 2 with the identity as scaling function.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: Sequence[float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        if len(betas) != 2 or not all(0.0 <= beta < 1.0 for beta in betas):
            raise ValueError(
                f'betas={betas} of LAMBOptimizer must be two numbers in [0, 1); '
                'set them in optim_wrapper.optimizer.'
            )
        for name, value in dict(lr=lr, eps=eps, weight_decay=weight_decay).items():
            if not value >= 0.0:
                raise ValueError(
                    f'{name}={value} of LAMBOptimizer must not be negative; '
                    'set it in optim_wrapper.optimizer.'
                )
        defaults = dict(lr=lr, betas=tuple(betas), eps=eps, weight_decay=weight_decay)
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Any:
        """Performs one update; returns the closure's loss, if there is a closure."""
        loss = _evaluate(closure)
        for group in self.param_groups:
            for parameter in group['params']:
                if parameter.grad is not None:
                    self._update(parameter, group)
        return loss

    def _update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        direction = self._adam_direction(parameter, group)
        lr = group['lr']
        if is_adapted(parameter):
            direction.add_(parameter, alpha=group['weight_decay'])
            ratio = parameter.norm() / direction.norm()
            # 0/0 and x/0 are not finite, 0/x is 0: all three mean "no ratio".
            lr = lr * torch.where(ratio.isfinite() & (ratio > 0), ratio, 1.0)
        parameter.sub_(direction.mul_(lr))

    def _adam_direction(self, parameter: Tensor, group: dict[str, Any]) -> Tensor:
        """Updates the moments by the gradient and returns ``m_hat / (sqrt(v_hat) + eps)``."""
        state, gradient = self.state[parameter], parameter.grad
        assert gradient is not None
        if not state:
            state['step'] = 0
            state['exp_avg'] = torch.zeros_like(parameter)
            state['exp_avg_sq'] = torch.zeros_like(parameter)
        state['step'] += 1
        beta1, beta2 = group['betas']
        first = state['exp_avg'].lerp_(gradient, 1 - beta1)
        second = state['exp_avg_sq'].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        root = (second / (1 - beta2 ** state['step'])).sqrt_().add_(group['eps'])
        direction: Tensor = first / (1 - beta1 ** state['step']) / root
        return direction


register_second_moment(LAMBOptimizer, SecondMoment('exp_avg_sq', beta=1))


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

    The ratio is 1 where a norm is 0, and for biases and norm scales, which are not decayed either
    (``is_adapted``). Deviation: the published algorithm keeps ``lr`` inside ``v``; outside, as in
    ``torch.optim.SGD``, a changed ``lr`` acts at once.

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
    return _lars_class()(
        params,
        lr=lr,
        momentum=momentum,
        weight_decay=weight_decay,
        trust_coefficient=trust_coefficient,
        nesterov=nesterov,
    )


OPTIMIZERS.register_module(name='LARSOptimizer', module=build_lars)


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
    library = _import_pytorch_optimizer('AdanOptimizer')
    register_second_moment(library.Adan, SecondMoment('exp_avg_sq', beta=2))
    optimizer: Optimizer = library.Adan(
        params,
        lr=lr,
        betas=tuple(betas),
        eps=eps,
        weight_decay=weight_decay,
        weight_decouple=no_prox,
        foreach=True,  # the other path of the library negates p.grad
    )
    return optimizer


OPTIMIZERS.register_module(name='AdanOptimizer', module=build_adan)


def restart_adan(optimizer: Optimizer) -> None:
    """Forgets Adan's moments, as the authors do for their restart strategy.

    The next step is a first step: zero moments, zero difference, step counter 1.
    """
    optimizer.state.clear()
    for group in optimizer.param_groups:
        group['step'] = 0


@cache
def _lars_class() -> Callable[..., Optimizer]:
    """The library's LARS, made to leave the gradients as they were."""
    library = _import_pytorch_optimizer('LARSOptimizer')

    class LARS(library.LARS):  # type: ignore[name-defined]
        def step(self, closure: Closure | None = None) -> Any:
            loss = _evaluate(closure)
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


def _evaluate(closure: Closure | None) -> Any:
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()


def _import_pytorch_optimizer(wanted_by: str) -> ModuleType:
    try:
        import pytorch_optimizer
    except ImportError as error:
        raise ImportError(
            f"optimizer type='{wanted_by}' needs pytorch_optimizer; install it with "
            "`pip install 'pytorch_optimizer>=4.1'`."
        ) from error
    library: ModuleType = pytorch_optimizer
    return library
