"""Muon for whole networks: matrices by Muon, everything else by AdamW or SGD.

Written out, because no library has what convolutional detectors and data-parallel ranks need.
``torch.optim.Muon`` takes matrices alone, one after the other, and works in bfloat16 on every
device. pytorch_optimizer 4.1 flattens a grouped convolution to one matrix, works in bfloat16
everywhere, writes Nesterov's momentum into ``p.grad`` and batches equal shapes within a group only,
while ``paramwise_cfg`` makes a group of each parameter. Its ``DistributedMuon`` keeps each momentum
on one rank, so that the checkpoint of rank 0 lacks the others. The rest is stepped by torch's own
functions (:mod:`.muon_rest`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from agvm_runs.checks import any_of, is_count, is_number, is_one_of, require

from ..compat import register_optimizer, say
from .buckets import Entry, Group, buckets, gradients, with_gradients
from .closure import Closure, evaluate
from .matrices import Matrices, by_share, orthogonalized, shape_of
from .muon_groups import WHERE, cut_groups
from .muon_rest import rest_options, step_rest
from .muon_split import MuonSplit
from .orthogonalize import COEFFICIENTS
from .parameterwise import register_parameterwise
from .share import ranks

ADJUST = ('original', 'match_rms_adamw')


@register_optimizer
@register_parameterwise
class MuonOptimizer(Optimizer):
    """Momentum whose matrices are made orthogonal; AdamW or SGD for what is no hidden matrix.

    ``m <- momentum * m + (1 - momentum) * g``;  ``u = momentum * m + (1 - momentum) * g``;
    ``w <- (1 - lr * weight_decay) * w - lr * adjust * NS(u)``

    ``NS(u)`` is close to ``U V^T`` of ``u = U S V^T`` (see :mod:`.orthogonalize`); without
    ``nesterov`` it is that of ``m``. A weight of more than two dimensions is a matrix of ``rows``
    times everything else, that of a grouped convolution one matrix for each group. ``adjust`` is
    ``sqrt(max(1, outputs / inputs))`` ('original') or ``0.2 * sqrt(max(outputs, inputs))``
    ('match_rms_adamw', with which rates and decays tuned for AdamW can be kept).

    Which parameters are Muon's is decided by the constructor of the optimizer wrapper::

        optim_wrapper = dict(
            constructor='MuonOptimWrapperConstructor',
            optimizer=dict(type='MuonOptimizer', lr=1e-3, weight_decay=0.05))

    Without it, every group says so itself: ``dict(params=[...], use_muon=True)``.

    Args:
        params: Parameters, or dicts of them with options of their own.
        lr: Learning rate of the matrices.
        momentum: Of the matrices.
        nesterov: Whether the momentum looks ahead.
        weight_decay: Decoupled, of matrices and rest.
        ns_steps: Newton-Schulz steps.
        ns_coefficients: Of their polynomial.
        eps: Smallest norm by which a matrix is divided.
        adjust_lr: How the rate depends on the shape, 'original' or 'match_rms_adamw'.
        rest: What steps the other parameters: ``dict(type='AdamW', betas=(0.9, 0.999), eps=1e-8)``
            or ``dict(type='SGD', momentum=0.9, nesterov=False)``, both with ``lr_ratio=1.0`` and
            ``decay_ratio=1.0``, which multiply a group's rate and decay.
        distributed: Whether each of the ranks of ``torch.distributed`` orthogonalises a share of
            the matrices; all must hold the same gradients. The state is whole on every rank.
        maximize: Whether to go up the gradient.
        split: From the constructor.

    Raises:
        ValueError: An option is outside its range; nothing says which parameters are Muon's.

    References:
        Jordan et al., "Muon", 2024, https://kellerjordan.github.io/posts/muon; Liu et al., "Muon
        is Scalable for LLM Training", 2025, arXiv:2502.16982 ('match_rms_adamw').
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0.95,
        nesterov: bool = True,
        weight_decay: float = 0.0,
        ns_steps: int = 5,
        ns_coefficients: Sequence[float] = COEFFICIENTS,
        eps: float = 1e-7,
        adjust_lr: str = 'match_rms_adamw',
        rest: Mapping[str, Any] | None = None,
        distributed: bool = True,
        maximize: bool = False,
        split: MuonSplit | None = None,
    ) -> None:
        for name, value in dict(lr=lr, weight_decay=weight_decay, eps=eps).items():
            require(is_number(value) and value >= 0, name, value, 'a number from 0 on', WHERE)
        inside = is_number(momentum) and 0 <= momentum < 1
        require(inside, 'momentum', momentum, 'a number in [0, 1)', WHERE)
        require(is_count(ns_steps, 1), 'ns_steps', ns_steps, 'a whole number from 1 on', WHERE)
        three = len(ns_coefficients) == 3 and all(map(is_number, ns_coefficients))
        require(three, 'ns_coefficients', ns_coefficients, 'three numbers', WHERE)
        require(is_one_of(adjust_lr, ADJUST), 'adjust_lr', adjust_lr, any_of(ADJUST), WHERE)
        others = rest_options(rest)
        defaults: Group = dict(
            lr=lr,
            momentum=momentum,
            nesterov=nesterov,
            weight_decay=weight_decay,
            ns_steps=ns_steps,
            ns_coefficients=tuple(ns_coefficients),
            eps=eps,
            adjust_lr=adjust_lr,
            betas=(0.9, 0.999),
            rest=others.pop('type'),
            distributed=distributed,
            maximize=maximize,
        )
        super().__init__(cut_groups(params, defaults, others, split), defaults)
        if split is not None:
            parameters = [p for group in self.param_groups for p in group['params']]
            say(split.report(parameters, defaults['rest']))

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Any:
        """Performs one update; returns the closure's loss, if there is a closure."""
        loss = evaluate(closure)
        maximize = bool(self.defaults['maximize'])
        muon = [group for group in self.param_groups if group['use_muon']]
        rest = [group for group in self.param_groups if not group['use_muon']]
        step_rest(with_gradients(rest), self.state, maximize)
        directions = self._directions(with_gradients(muon), maximize)
        # Every trained matrix has its place in the collective, so that the ranks cannot disagree.
        entries = [(p, group) for group in muon for p in group['params'] if _is_trained(p)]
        matrices = [Matrices.of(p, group) for p, group in entries]
        if self.defaults['distributed'] and ranks() > 1 and matrices:
            updates = by_share(matrices, directions)
        else:
            updates = orthogonalized(
                [m for m in matrices if id(m.parameter) in directions], directions
            )
        _apply([entry for entry in entries if id(entry[0]) in directions], updates)
        return loss

    def _directions(self, entries: Iterable[Entry], maximize: bool) -> dict[int, Tensor]:
        """What is to be made orthogonal, by ``id(parameter)``; updates the momentum."""
        found: dict[int, Tensor] = {}
        for bucket, group in buckets(entries, 'momentum', 'nesterov'):
            current = gradients(bucket)
            if maximize:
                current = list(torch._foreach_neg(current))
            for (p, _), gradient in zip(bucket, current):
                if 'momentum_buffer' not in self.state[p]:
                    self.state[p]['momentum_buffer'] = torch.zeros_like(gradient)
            buffers = [self.state[p]['momentum_buffer'] for p, _ in bucket]
            torch._foreach_lerp_(buffers, current, 1 - group['momentum'])
            if group['nesterov']:
                buffers = list(torch._foreach_lerp(current, buffers, group['momentum']))
            found.update((id(p), direction) for (p, _), direction in zip(bucket, buffers))
        return found


def _apply(entries: Sequence[Entry], updates: Sequence[Tensor]) -> None:
    update_of = {id(p): update for (p, _), update in zip(entries, updates)}
    for bucket, _ in buckets(entries):
        parameters = [p for p, _ in bucket]
        found = [update_of[id(p)].to(p.dtype) for p in parameters]
        kept = [1 - group['lr'] * group['weight_decay'] for _, group in bucket]
        if any(share != 1 for share in kept):
            torch._foreach_mul_(parameters, kept)
        rates = [-group['lr'] * _adjustment(p, group) for p, group in bucket]
        torch._foreach_add_(parameters, torch._foreach_mul(found, rates))


def _adjustment(parameter: Tensor, group: Group) -> float:
    """What multiplies the rate for a weight's shape."""
    _, outputs, inputs = shape_of(parameter, group['blocks'])
    if group['transposed']:
        outputs, inputs = inputs, outputs
    if group['adjust_lr'] == 'original':
        return math.sqrt(max(1.0, outputs / inputs))
    return 0.2 * math.sqrt(max(outputs, inputs))


def _is_trained(parameter: Tensor) -> bool:
    return parameter.requires_grad or parameter.grad is not None
