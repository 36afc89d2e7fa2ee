"""The steps of a launch that settle the batch of an update and the numbers that depend on it."""

from __future__ import annotations

import logging

from ..wrappers.total_batch import TOTAL_BATCH
from .batch import accumulative_counts, apply_total_batch_size, effective_batch, images_per_rank
from .errors import LaunchError, Note
from .learning_rate import scale_lr, wants_scaling
from .record import Launch, Step
from .rescale.recipe import NO_RULE, WHERE, rescale
from .warmup import resolve_lengths_of_agvm


def batch_of(launch: Launch) -> int:
    """Images of an update of this launch, before or after the total batch was applied.

    Raises:
        LaunchError: the total batch does not divide over the ranks.
    """
    cfg, total = launch.cfg, launch.options.total_batch_size
    total = cfg.get(TOTAL_BATCH) if total is None else total
    if total is None:
        return effective_batch(cfg, launch.ranks)
    accumulative_counts(total, launch.ranks, images_per_rank(cfg))
    return total


def _find_written_batch(launch: Launch) -> list[Note]:
    launch.written_batch = launch.cfg.get(TOTAL_BATCH)
    launch.rule = _rule(launch)
    if launch.rule == NO_RULE and launch.cfg.get(WHERE):
        launch.cfg[WHERE] = {**launch.cfg[WHERE], 'enable': False}
    return []


def _rescale(launch: Launch) -> list[Note]:
    cfg, rule = launch.cfg, launch.rule
    if rule == NO_RULE:
        return []
    if rule is not None:
        batch = batch_of(launch)
        return rescale(cfg, rule, base_batch(launch, batch), batch)
    if launch.options.auto_scale_lr or wants_scaling(cfg):
        return []
    return _left_as_written(launch)


def _resolve_agvm(launch: Launch) -> list[Note]:
    return resolve_lengths_of_agvm(launch.cfg, lambda: batch_of(launch))


def _set_total_batch(launch: Launch) -> list[Note]:
    return apply_total_batch_size(launch.cfg, launch.ranks, launch.options.total_batch_size)


def _scale_learning_rate(launch: Launch) -> list[Note]:
    asked = launch.options.auto_scale_lr or wants_scaling(launch.cfg)
    if launch.rule is not None or not asked:
        return []
    batch = effective_batch(launch.cfg, launch.ranks)
    return [scale_lr(launch.cfg, batch, launch.written_batch)]


def _rule(launch: Launch) -> str | None:
    """The rule by which the recipe is rescaled; None where none was asked for."""
    options, settings = launch.options, launch.cfg.get(WHERE) or {}
    if options.scale_rule == NO_RULE and options.auto_scale_lr:
        raise LaunchError('--auto-scale-lr contradicts --scale-rule none: leave one of them out.')
    if options.scale_rule is not None:
        return options.scale_rule
    asked = options.auto_scale_lr or settings.get('enable')
    rule: str | None = settings.get('rule') if asked else None
    return rule


def base_batch(launch: Launch, batch: int) -> int:
    """The batch for which the recipe is written."""
    settings, written = launch.cfg.get(WHERE) or {}, launch.written_batch
    base: int | None = settings.get('base_batch_size')
    if base is not None and (written in (None, base) or 'rule' in settings):
        return base
    if base is None and written is not None:
        return written
    if written is None:
        raise LaunchError(
            f'to rescale to batch {batch} it must be known for which batch the config is written; '
            f'set {WHERE}.base_batch_size.'
        )
    raise LaunchError(
        f'the config may be written for {TOTAL_BATCH}={written} or for {WHERE}.base_batch_size='
        f'{base}: set {WHERE}=None in the first case, and {WHERE}.rule in the second.'
    )


def _left_as_written(launch: Launch) -> list[Note]:
    """A warning where the batch is not the recipe's and nothing follows it."""
    cfg, settings = launch.cfg, launch.cfg.get(WHERE) or {}
    base = settings.get('base_batch_size')
    where = f'{WHERE}.base_batch_size'
    if launch.written_batch is not None and 'rule' not in settings:
        base, where = launch.written_batch, TOTAL_BATCH
    if base is None or not (launch.options.total_batch_size or 'rule' in settings):
        return []
    batch = batch_of(launch)
    optimizer = (cfg.get('optim_wrapper') or {}).get('optimizer') or {}
    if batch == base or 'lr' not in optimizer:
        return []
    return [
        Note(
            f'The batch of an update is {batch} and optim_wrapper.optimizer.lr={optimizer["lr"]} '
            f'is written for {base} ({where}): nothing is rescaled; give --scale-rule linear, sqrt '
            'or linear-then-sqrt, or none to leave it so.',
            logging.WARNING,
        )
    ]


BATCH: tuple[Step, ...] = (
    _find_written_batch,
    _rescale,
    _resolve_agvm,
    _set_total_batch,
    _scale_learning_rate,
)
