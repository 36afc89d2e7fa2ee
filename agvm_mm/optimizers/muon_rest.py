"""What steps the parameters that Muon leaves: AdamW or SGD, torch's own functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

from agvm_runs.checks import any_of, is_number, is_one_of, require, require_known

from .buckets import Entry, buckets, gradients

WHERE = 'optim_wrapper.optimizer.rest'
COMMON = dict(lr_ratio=1.0, decay_ratio=1.0)
OPTIONS: Mapping[str, dict[str, Any]] = {
    'AdamW': dict(COMMON, betas=(0.9, 0.999), eps=1e-8),
    'SGD': dict(COMMON, momentum=0.9, nesterov=False),
}
State = MutableMapping[Tensor, dict[str, Any]]


def rest_options(rest: Mapping[str, Any] | None) -> dict[str, Any]:
    """The checked options of the rule, with its ``type``.

    Raises:
        ValueError: an option is unknown or outside its range.
    """
    given = dict(rest or {})
    kind = given.pop('type', 'AdamW')
    require(is_one_of(kind, OPTIONS), 'type', kind, any_of(list(OPTIONS)), WHERE)
    require_known(given, list(OPTIONS[kind]), WHERE)
    options = {**OPTIONS[kind], **given}
    for name in ('lr_ratio', 'decay_ratio', 'eps', 'momentum'):
        value = options.get(name, 0)
        require(is_number(value) and value >= 0, name, value, 'a number from 0 on', WHERE)
    if kind == 'AdamW':
        options['betas'] = betas = tuple(options['betas'])
        two = len(betas) == 2 and all(is_number(beta) and 0 <= beta < 1 for beta in betas)
        require(two, 'betas', betas, 'two numbers in [0, 1)', WHERE)
    return dict(options, type=kind)


def step_rest(entries: Iterable[Entry], state: State, maximize: bool) -> None:
    """Steps parameters by the rule that their group names in ``rest``."""
    chosen = list(entries)
    _step_adamw([e for e in chosen if e[1]['rest'] == 'AdamW'], state, maximize)
    _step_sgd([e for e in chosen if e[1]['rest'] == 'SGD'], state, maximize)


def _step_adamw(entries: list[Entry], state: State, maximize: bool) -> None:
    for bucket, group in buckets(entries, 'lr', 'weight_decay', 'betas', 'eps'):
        states = [state[p] for p, _ in bucket]
        for (p, _), own in zip(bucket, states):
            if not own:
                own['step'] = torch.tensor(0.0)
                own['exp_avg'] = torch.zeros_like(p)
                own['exp_avg_sq'] = torch.zeros_like(p)
        adamw(
            [p for p, _ in bucket],
            gradients(bucket),
            [own['exp_avg'] for own in states],
            [own['exp_avg_sq'] for own in states],
            [],
            [own['step'] for own in states],
            foreach=True,
            amsgrad=False,
            beta1=group['betas'][0],
            beta2=group['betas'][1],
            lr=group['lr'],
            weight_decay=group['weight_decay'],
            eps=group['eps'],
            maximize=maximize,
        )


def _step_sgd(entries: list[Entry], state: State, maximize: bool) -> None:
    for bucket, group in buckets(entries, 'lr', 'weight_decay', 'momentum', 'nesterov'):
        buffers = [state[p].get('momentum_buffer') for p, _ in bucket]
        sgd(
            [p for p, _ in bucket],
            gradients(bucket),
            buffers,
            foreach=True,
            weight_decay=group['weight_decay'],
            momentum=group['momentum'],
            lr=group['lr'],
            dampening=0.0,
            nesterov=group['nesterov'],
            maximize=maximize,
        )
        for (p, _), buffer in zip(bucket, buffers):
            if buffer is not None:
                state[p]['momentum_buffer'] = buffer
