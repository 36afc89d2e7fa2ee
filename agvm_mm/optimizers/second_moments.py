r"""The diagonal D by which an optimizer scales its gradient.

With ``precondition=True`` the variance is measured on :math:`D g_k`, where

.. math:: D = \frac{1}{\sqrt{\hat v} + \epsilon}

is the optimizer's own second moment of the previous step, the same on every rank. Which state
key and which beta hold that moment is registered per optimizer class, because they differ:
Adan's second moment is its third beta, RMSprop corrects no bias.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adagrad, Adam, AdamW, NAdam, Optimizer, RMSprop

from ..gradients import Preconditioner


@dataclass(frozen=True)
class SecondMoment:
    """Where an optimizer keeps the running mean of squared gradients.

    Args:
        state_key: entry of ``optimizer.state[parameter]`` that holds v.
        beta: index into ``group['betas']`` of v's decay, whose start-up bias the optimizer
            corrects with its step counter; None when it corrects none.
        mean_key: entry that holds the mean gradient a centred second moment subtracts.
    """

    state_key: str
    beta: int | None = None
    mean_key: str | None = None


_REGISTRY: dict[type[Optimizer], SecondMoment] = {}


def register_second_moment(optimizer: type[Optimizer], moment: SecondMoment) -> None:
    """Make ``precondition=True`` known to an optimizer class and its subclasses."""
    _REGISTRY[optimizer] = moment


def _register_known() -> None:
    for adam in (Adam, AdamW, NAdam):
        register_second_moment(adam, SecondMoment('exp_avg_sq', beta=1))
    register_second_moment(RMSprop, SecondMoment('square_avg', mean_key='grad_avg'))
    register_second_moment(Adagrad, SecondMoment('sum'))


_register_known()


def second_moment_of(optimizer: Optimizer) -> SecondMoment:
    """The registered second moment of ``optimizer``.

    Raises:
        ValueError: none is registered for its class.
    """
    for kind in type(optimizer).__mro__:
        if kind in _REGISTRY:
            return _REGISTRY[kind]
    known = ', '.join(sorted({kind.__name__ for kind in _REGISTRY}))
    raise ValueError(
        f'optim_wrapper.agvm.precondition is True, but {type(optimizer).__name__} has no '
        f'registered second moment; known are {known}; add others with '
        'agvm_mm.optimizers.register_second_moment, or set precondition=False.'
    )


def build_preconditioner(optimizer: Optimizer) -> Preconditioner:
    """A function from parameter to D, None for a parameter the optimizer has not stepped yet."""
    moment = second_moment_of(optimizer)
    # Positions, not the groups themselves: loading a checkpoint replaces those.
    position = {
        id(parameter): i
        for i, group in enumerate(optimizer.param_groups)
        for parameter in group['params']
    }

    def diagonal(parameter: nn.Parameter) -> Tensor | None:
        state = optimizer.state.get(parameter, {})
        group = optimizer.param_groups[position[id(parameter)]]
        step = _step_count(state, group)
        if moment.state_key not in state or (not isinstance(step, Tensor) and step == 0):
            return None
        return _diagonal(moment, state, group, step)

    return diagonal


def _step_count(state: dict[str, Any], group: dict[str, Any]) -> float | Tensor:
    # torch keeps the counter by parameter, pytorch_optimizer by group.
    step = state.get('step', group.get('step', 0))
    # A fused or capturable optimizer counts on the device, and to read it the host would wait.
    return step.double() if isinstance(step, Tensor) and step.device.type != 'cpu' else float(step)


@torch.no_grad()
def _diagonal(
    moment: SecondMoment, state: dict[str, Any], group: dict[str, Any], step: float | Tensor
) -> Tensor:
    # With amsgrad Adam divides by the largest v so far.
    v: Tensor = state[f'max_{moment.state_key}' if group.get('amsgrad') else moment.state_key]
    if moment.mean_key is not None and moment.mean_key in state:
        v = (v - state[moment.mean_key].square()).clamp_(min=0)
    if moment.beta is not None:
        v = v / (1 - group['betas'][moment.beta] ** step)
    diagonal = v.sqrt().add_(group['eps']).reciprocal_()
    # Before the first step, which mixed precision may have skipped, nothing is measured.
    return torch.where(step > 0, diagonal, 0) if isinstance(step, Tensor) else diagonal
