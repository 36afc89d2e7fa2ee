"""A recipe for another batch: every number of the config that has a rule (see :mod:`.rules`).

The config is changed before :mod:`..batch` turns updates into micro-batches: its iterations are
updates of the base batch before, and of the new batch after. What counts epochs stays. So do weight
decay, the bound of clipping, momenta of the optimizer and everything of K-FAC, for which there is
no rule, and the lengths of hooks that :mod:`.lengths` does not know.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config

from agvm_runs.checks import any_of, is_count, is_one_of, require
from agvm_runs.work_dir import type_name

from ..errors import LaunchError, Note
from ..learning_rate import OWN_RATES, learning_rate
from ..lengths import schedules_of
from . import rules
from .changes import Change, kept, table
from .lengths import averages, loop_and_hooks, schedules, warmup, windows

NO_RULE = 'none'
SOURCES = {
    'linear': rules.GOYAL,
    'sqrt': rules.KRIZHEVSKY,
    'linear-then-sqrt': rules.XUE,
}
RULES = (*SOURCES, NO_RULE)
WHERE = 'auto_scale_lr'
ADAMS = ('Adam', 'AdamW', 'NAdam', 'RAdam')


@dataclass(frozen=True)
class ScalingSettings:
    """Keys of ``auto_scale_lr`` beside MMEngine's two.

    Args:
        rule: of the learning rate: 'linear', 'sqrt', 'linear-then-sqrt', or 'none' for no change.
        knee: the batch up to which 'linear-then-sqrt' is linear.
        adam_sde: change betas and eps of Adam with the rate; with the rule 'sqrt' alone.
    """

    rule: str
    knee: int = rules.KNEE
    adam_sde: bool = False

    def __post_init__(self) -> None:
        require(is_one_of(self.rule, RULES), 'rule', self.rule, any_of(RULES), WHERE)
        require(is_count(self.knee, 1), 'knee', self.knee, 'a batch, at least 1', WHERE)
        require(
            self.adam_sde is False or (self.adam_sde is True and self.rule == 'sqrt'),
            'adam_sde',
            self.adam_sde,
            "True or False, True with rule='sqrt' alone",
            WHERE,
        )

    @classmethod
    def of(cls, cfg: Config, rule: str) -> ScalingSettings:
        """The settings of a config under ``rule``.

        Raises:
            LaunchError: a value is none of the allowed ones.
        """
        given = cfg.get(WHERE) or {}
        try:
            return cls(rule, **{k: given[k] for k in ('knee', 'adam_sde') if k in given})
        except ValueError as error:
            raise LaunchError(str(error)) from None

    def multiplier(self, base: int, batch: int) -> float:
        """Of the learning rate."""
        if self.rule == 'linear':
            return rules.linear(base, batch)
        if self.rule == 'sqrt':
            return rules.square_root(base, batch)
        return rules.linear_then_sqrt(base, batch, self.knee)


def rescale(cfg: Config, rule: str, base: int, batch: int) -> list[Note]:
    """Rewrite a recipe for ``base`` images an update for ``batch``, in place.

    Args:
        cfg: the config, whose iterations are updates of ``base`` images.
        rule: of the learning rate, one of 'linear', 'sqrt' and 'linear-then-sqrt'.
        base: images of an update for which the config is written.
        batch: images of an update of this run.

    Returns:
        The table of changes, and warnings of what should change and could not.

    Raises:
        LaunchError: the config has no single learning rate, or a number has no counterpart.
    """
    settings = ScalingSettings.of(cfg, rule)
    _require_updates(cfg)
    lr = learning_rate(cfg, f'the rule {rule!r}')
    mark = {**(cfg.get(WHERE) or {}), 'enable': False, 'rule': rule, 'base_batch_size': batch}
    if batch == base:
        cfg[WHERE] = mark
        return [Note(f'nothing to rescale: the recipe is written for batch {base}')]
    ratio = batch / base
    changes = [Change('images of an update', base, batch, f'k = {ratio:g}')]
    warnings: list[str] = []
    old_warmup = warmup(cfg, base)
    changes += _rates(cfg, settings, base, batch)
    changes += schedules(cfg, ratio)
    changes += loop_and_hooks(cfg, ratio)
    changes += averages(cfg, ratio, warnings)
    changes += windows(cfg, old_warmup, batch, ratio)
    decay = cfg.optim_wrapper.optimizer.get('weight_decay')
    if decay:
        changes.append(kept('optim_wrapper.optimizer.weight_decay', decay))
    cfg[WHERE] = {**mark, 'scaled_from': dict(lr=lr, base_batch_size=base)}
    text = f'rescaled from batch {base} to {batch} by the rule {rule!r}:\n{table(changes)}'
    return [Note(text), *(Note(warning, logging.WARNING) for warning in warnings)]


def _require_updates(cfg: Config) -> None:
    counts = cfg.get('optim_wrapper', {}).get('accumulative_counts') or 1
    if counts != 1:
        raise LaunchError(
            f'optim_wrapper.accumulative_counts is {counts} and the iterations of this config '
            'count micro-batches; to rescale it leave that out and set total_batch_size.'
        )


def _rates(cfg: Config, settings: ScalingSettings, base: int, batch: int) -> Iterator[Change]:
    times, optimizer = settings.multiplier(base, batch), cfg.optim_wrapper.optimizer
    source, rule = SOURCES[settings.rule], f'{settings.rule}: x {times:.4g}'
    source = rules.MALLADI if settings.adam_sde else source
    entries: list[tuple[Any, str, tuple[str, ...]]] = [
        (optimizer, 'optim_wrapper.optimizer', ('lr',))
    ]
    for index, entry in enumerate(schedules_of(cfg)):
        if type_name(entry).endswith('LR'):
            entries.append((entry, f'param_scheduler[{index}]', OWN_RATES))
    for entry, where, keys in entries:
        for key in keys:
            if entry.get(key):
                old, entry[key] = entry[key], entry[key] * times
                yield Change(f'{where}.{key}', old, entry[key], rule, source)
    if settings.adam_sde:
        yield from _adam(optimizer, batch / base)


def _adam(optimizer: dict[str, Any], ratio: float) -> Iterator[Change]:
    name = type_name(optimizer)
    if name not in ADAMS:
        raise LaunchError(
            f'{WHERE}.adam_sde is True and optim_wrapper.optimizer.type is {name!r}; allowed is '
            f'{any_of(ADAMS)}.'
        )
    old = rules.Adam(tuple(optimizer.get('betas', (0.9, 0.999))), optimizer.get('eps', 1e-8))
    try:
        new = rules.adam_sde(ratio, old)
    except ValueError as error:
        raise LaunchError(f'{WHERE}.adam_sde: {error}') from None
    optimizer.update(betas=new.betas, eps=new.eps)
    where = 'optim_wrapper.optimizer'
    yield Change(f'{where}.betas', old.betas, new.betas, '1 - k (1 - beta)', rules.MALLADI)
    yield Change(f'{where}.eps', old.eps, new.eps, 'eps / sqrt(k)', rules.MALLADI)
