"""LAMB, written out.

pytorch_optimizer 4.1 divides its step by ``1 - beta1**t`` after the trust ratio (ten times too long
a first step) and has no bias correction of the averages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from ..compat import register_optimizer
from .buckets import Group, buckets, gradients, with_gradients
from .closure import Closure, evaluate
from .parameterwise import register_parameterwise
from .second_moments import SecondMoment, register_second_moment

OPTIONS = ('lr', 'betas', 'eps', 'weight_decay')


def is_adapted(parameter: Tensor) -> bool:
    """Whether LARS and LAMB give this parameter a trust ratio and weight decay.

    Biases and norm layers (at most one dimension) get neither, the convention of both papers'
    authors: their norms say nothing about a sensible step.
    """
    return parameter.ndim > 1


@register_optimizer
@register_parameterwise
class LAMBOptimizer(Optimizer):
    """Adam with a trust ratio for every weight tensor.

    ``r = m_hat / (sqrt(v_hat) + eps)``; ``d = r + weight_decay * w``;
    ``w <- w - lr * ||w|| / ||d|| * d``

    ``m_hat`` and ``v_hat`` are Adam's bias-corrected averages. The ratio is 1 where one of the
    norms is 0, and for biases and weights of norm layers, which are not decayed either
    (``is_adapted``). Weight norms are not clamped.

    Args:
        params: Parameters, or dicts of them with options of their own.
        lr: Learning rate: the length of a step relative to the weight.
        betas: Decay rates of the two averages.
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
        loss = evaluate(closure)
        for bucket, group in buckets(with_gradients(self.param_groups), *OPTIONS):
            parameters = [p for p, _ in bucket]
            directions = self._adam_directions(parameters, gradients(bucket), group)
            adapted = [i for i, p in enumerate(parameters) if is_adapted(p)]
            if adapted:
                _adapt([parameters[i] for i in adapted], [directions[i] for i in adapted], group)
            torch._foreach_add_(parameters, directions, alpha=-group['lr'])
        return loss

    def _adam_directions(
        self, parameters: list[Tensor], gradients: list[Tensor], group: Group
    ) -> list[Tensor]:
        """Updates the averages with the gradients and returns ``m_hat / (sqrt(v_hat) + eps)``."""
        states = [self.state[p] for p in parameters]
        for parameter, state in zip(parameters, states):
            if not state:
                state['step'] = 0
                state['exp_avg'] = torch.zeros_like(parameter)
                state['exp_avg_sq'] = torch.zeros_like(parameter)
            state['step'] += 1
        beta1, beta2 = group['betas']
        first = [state['exp_avg'] for state in states]
        second = [state['exp_avg_sq'] for state in states]
        torch._foreach_lerp_(first, gradients, 1 - beta1)
        torch._foreach_mul_(second, beta2)
        torch._foreach_addcmul_(second, gradients, gradients, value=1 - beta2)
        roots = torch._foreach_div(second, [1 - beta2 ** state['step'] for state in states])
        torch._foreach_sqrt_(roots)
        torch._foreach_add_(roots, group['eps'])
        directions = torch._foreach_div(first, [1 - beta1 ** state['step'] for state in states])
        torch._foreach_div_(directions, roots)
        return list(directions)


def _adapt(parameters: list[Tensor], directions: list[Tensor], group: Group) -> None:
    """Adds the decay and multiplies by the trust ratio, in place."""
    torch._foreach_add_(directions, parameters, alpha=group['weight_decay'])
    weights = torch.stack(list(torch._foreach_norm(parameters)))
    ratios = weights / torch.stack(list(torch._foreach_norm(directions)))
    # 0/0 and x/0 are not finite, 0/x is 0: all three mean "no ratio".
    ratios = torch.where(ratios.isfinite() & (ratios > 0), ratios, 1.0)
    torch._foreach_mul_(directions, list(ratios.unbind()))


register_second_moment(LAMBOptimizer, SecondMoment('exp_avg_sq', beta=1))
