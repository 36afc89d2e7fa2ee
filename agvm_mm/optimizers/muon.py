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
from typing import Any, NamedTuple

import torch
from mmengine.logging import print_log
from mmengine.registry import OPTIMIZERS
from torch import Tensor
from torch.optim import Optimizer

from ..checks import any_of, is_count, is_number, is_one_of, require
from .buckets import Entry, Group, buckets, gradients, with_gradients
from .closure import Closure, evaluate
from .muon_rest import rest_options, step_rest
from .muon_split import Layout, MuonSplit
from .orthogonalize import COEFFICIENTS, cost, orthogonalize
from .share import computed_by_share, ranks

WHERE = 'optim_wrapper.optimizer'
ADJUST = ('original', 'match_rms_adamw')


@OPTIMIZERS.register_module()
class MuonOptimizer(Optimizer):
    """Momentum whose matrices are made orthogonal; AdamW or SGD for what is no hidden matrix.

    ``m <- momentum * m + (1 - momentum) * g``;  ``u = momentum * m + (1 - momentum) * g``;
    ``w <- (1 - lr * weight_decay) * w - lr * scale * NS(u)``

    ``NS(u)`` is close to ``U V^T`` of ``u = U S V^T`` (see :mod:`.orthogonalize`); without
    ``nesterov`` it is that of ``m``. A weight of more than two dimensions is a matrix of ``rows``
    times everything else, that of a grouped convolution one matrix for each group. ``scale`` is
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
        groups = [
            part for group in _groups(params) for part in _split(group, defaults, others, split)
        ]
        super().__init__(groups, defaults)
        if split is not None:
            parameters = [p for group in self.param_groups for p in group['params']]
            print_log(split.report(parameters, defaults['rest']), logger='current')

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
        entries = [(p, group) for group in muon for p in group['params'] if p.requires_grad]
        matrices = [_Matrices.of(p, group) for p, group in entries]
        if self.defaults['distributed'] and ranks() > 1 and matrices:
            updates = _by_share(matrices, directions)
        else:
            updates = _orthogonalized(
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
            ahead = torch._foreach_lerp(current, buffers, group['momentum'])
            chosen = ahead if group['nesterov'] else buffers
            found.update((id(p), direction) for (p, _), direction in zip(bucket, chosen))
        return found


class _Matrices(NamedTuple):
    """A weight as matrices with the shorter side first.

    Args:
        parameter: The weight.
        shape: (blocks, rows, columns) of it as it lies in memory.
        options: Steps, coefficients and eps of the iteration.
    """

    parameter: Tensor
    shape: tuple[int, int, int]
    options: tuple[int, tuple[float, ...], float]

    @classmethod
    def of(cls, parameter: Tensor, group: Group) -> _Matrices:
        options = group['ns_steps'], tuple(group['ns_coefficients']), group['eps']
        return cls(parameter, _shape(parameter, group['blocks']), options)

    @property
    def sides(self) -> tuple[int, int]:
        return min(self.shape[1:]), max(self.shape[1:])

    @property
    def cost(self) -> int:
        dtype = computation_dtype(self.parameter)
        return self.shape[0] * cost(*self.sides, self.options[0], dtype)

    def view(self, direction: Tensor) -> Tensor:
        """``direction`` as (blocks, shorter side, longer side)."""
        blocks = direction.reshape(self.shape)
        return blocks.mT if self.shape[1] > self.shape[2] else blocks

    def unview(self, blocks: Tensor) -> Tensor:
        """The inverse of :meth:`view`."""
        restored = blocks.mT if self.shape[1] > self.shape[2] else blocks
        return restored.reshape(self.parameter.shape)


def computation_dtype(parameter: Tensor) -> torch.dtype:
    """The type in which a weight's matrices are multiplied."""
    if parameter.dtype == torch.float64:
        return torch.float64
    half = parameter.is_cuda and torch.cuda.is_bf16_supported()
    return torch.bfloat16 if half else torch.float32


def _orthogonalized(
    matrices: Sequence[_Matrices], directions: Mapping[int, Tensor]
) -> list[Tensor]:
    """One update of each parameter's shape, in the type of the computation; shapes in batches."""
    batches: dict[Any, list[int]] = {}
    for i, entry in enumerate(matrices):
        dtype, device = computation_dtype(entry.parameter), entry.parameter.device
        batches.setdefault((entry.sides, entry.options, dtype, device), []).append(i)
    updates: list[Tensor] = [torch.empty(0)] * len(matrices)
    for (_, options, dtype, _), members in batches.items():
        chosen = [matrices[i] for i in members]
        views = [m.view(directions[id(m.parameter)]).to(dtype) for m in chosen]
        batch = orthogonalize(torch.cat(views), *options)
        for i, m, blocks in zip(members, chosen, batch.split([m.shape[0] for m in chosen])):
            updates[i] = m.unview(blocks)
    return updates


def _by_share(matrices: Sequence[_Matrices], directions: Mapping[int, Tensor]) -> list[Tensor]:
    """As :func:`_orthogonalized`, for those with a direction; this rank computes its share."""

    def compute(pieces: list[int]) -> list[Tensor]:
        chosen = [matrices[i] for i in pieces]
        known = [m for m in chosen if id(m.parameter) in directions]
        found = dict(zip((id(m.parameter) for m in known), _orthogonalized(known, directions)))
        return [found.get(id(m.parameter), torch.zeros_like(m.parameter)) for m in chosen]

    first = matrices[0].parameter
    results = computed_by_share(
        compute,
        [m.cost for m in matrices],
        [m.parameter.shape for m in matrices],
        computation_dtype(first),
        first.device,
    )
    return [r for m, r in zip(matrices, results) if id(m.parameter) in directions]


def _apply(entries: Sequence[Entry], updates: Sequence[Tensor]) -> None:
    update_of = {id(p): update for (p, _), update in zip(entries, updates)}
    for bucket, _ in buckets(entries):
        parameters = [p for p, _ in bucket]
        found = [update_of[id(p)].to(p.dtype) for p in parameters]
        kept = [1 - group['lr'] * group['weight_decay'] for _, group in bucket]
        if any(factor != 1 for factor in kept):
            torch._foreach_mul_(parameters, kept)
        scales = [-group['lr'] * _scale(p, group) for p, group in bucket]
        torch._foreach_add_(parameters, torch._foreach_mul(found, scales))


def _scale(parameter: Tensor, group: Group) -> float:
    """What multiplies the rate for a weight's shape."""
    _, outputs, inputs = _shape(parameter, group['blocks'])
    if group['transposed']:
        outputs, inputs = inputs, outputs
    if group['adjust_lr'] == 'original':
        return math.sqrt(max(1.0, outputs / inputs))
    return 0.2 * math.sqrt(max(outputs, inputs))


def _shape(parameter: Tensor, blocks: int) -> tuple[int, int, int]:
    rows = len(parameter) // blocks
    return blocks, rows, parameter.numel() // len(parameter)


def _groups(params: Any) -> list[Group]:
    listed = list(params)
    return listed if listed and isinstance(listed[0], dict) else [dict(params=listed)]


def _split(
    group: Group, defaults: Group, rest: Mapping[str, Any], split: MuonSplit | None
) -> list[Group]:
    """One group for every layout among the parameters of ``group``, and one for the rest."""
    given = group['params']
    parameters = [given] if isinstance(given, Tensor) else list(given)
    _require_whole(parameters)
    layouts = [_layout(p, group, split) for p in parameters]
    parts = []
    for layout in sorted({layout for layout in layouts if layout is not None}):
        chosen = [p for p, own in zip(parameters, layouts) if own == layout]
        parts.append({**group, 'params': chosen, 'use_muon': True, **layout._asdict()})
    others = [p for p, own in zip(parameters, layouts) if own is None]
    if others or not parts:
        options = {**defaults, **rest, **group}
        options['lr'] *= options.pop('lr_ratio')
        options['weight_decay'] *= options.pop('decay_ratio')
        parts.append({**options, 'params': others, 'use_muon': False, **Layout()._asdict()})
    return parts


def _layout(parameter: Tensor, group: Group, split: MuonSplit | None) -> Layout | None:
    """How Muon reads a parameter; None for the rest."""
    if split is not None:
        return split.layouts.get(id(parameter))
    if 'use_muon' not in group:
        raise ValueError(
            f'{WHERE}.type is MuonOptimizer and nothing says which parameters are its matrices; '
            "set optim_wrapper.constructor='MuonOptimWrapperConstructor', or use_muon=True or "
            'False in every parameter group.'
        )
    if not group['use_muon']:
        return None
    if parameter.ndim < 2:
        raise ValueError(
            f'a parameter of shape {tuple(parameter.shape)} is in a group with use_muon=True; Muon '
            'takes weights of two and more dimensions.'
        )
    return Layout(group.get('blocks', 1), group.get('transposed', False))


def _require_whole(parameters: Iterable[Tensor]) -> None:
    if any(hasattr(p, 'placements') for p in parameters):
        raise ValueError(
            'MuonOptimizer was given DTensor parameters, of which a rank holds a shard, as '
            'fully_shard and tensor parallelism make them; use MMDistributedDataParallel.'
        )
