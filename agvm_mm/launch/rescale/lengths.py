"""The lengths of a recipe in updates, for another batch: each keeps the images that pass in it.

Schedules, loop and hooks that count iterations, averages of weights, and the updates that are tied
to the warm-up: AGVM's begin and the window of clipping.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.config import Config

from agvm_runs.checks import is_count
from agvm_runs.work_dir import type_name

from ..lengths import (
    CHECKPOINT,
    TRAIN_CFG,
    convert_dynamic_intervals,
    convert_keys,
    hooks_of,
    schedules_of,
)
from ..warmup import warmup_end
from . import rules
from .averages import Momentum, momentum_of
from .changes import Change

SPANS = ('T_max', 'total_steps', 'step_size')
MOVED = (('agvm', 'begin'), ('clip_grad', 'begin'), ('clip_grad', 'end'))
SHARE = 'images as before'
TEACHER = Momentum(0.001, rules.weight_of_new)  # MMDetection's MeanTeacherHook


def schedules(cfg: Config, ratio: float) -> Iterator[Change]:
    """Rewrite the schedules that count iterations."""
    for index, entry in enumerate(schedules_of(cfg)):
        if entry.get('by_epoch', True):
            continue
        old, begin = dict(entry), entry.get('begin') or 0
        for key in SPANS:
            if entry.get(key) is not None:
                (entry[key],) = rules.spans(begin, [entry[key]], ratio)
        if entry.get('milestones') is not None:
            entry['milestones'] = rules.spans(begin, entry['milestones'], ratio)
        if entry.get('periods') is not None:
            entry['periods'] = _periods(begin, entry['periods'], ratio)
        entry.update(_bounds(entry, begin, ratio))
        if type_name(entry) == 'ExponentialLR' and 'gamma' in entry:
            entry['gamma'] = rules.factor_of_decay(entry['gamma'], ratio)
        for key, value in old.items():
            if entry[key] != value:
                rule = 'gamma ** k' if key == 'gamma' else SHARE
                yield Change(f'param_scheduler[{index}].{key}', value, entry[key], rule)


def _bounds(entry: dict[str, Any], begin: int, ratio: float) -> dict[str, int]:
    bounds = {key: rules.length(entry[key], ratio) for key in ('begin', 'end') if entry.get(key)}
    if 'end' in bounds:
        bounds['end'] = max(bounds['end'], rules.length(begin, ratio) + 1)
    return bounds


def _periods(begin: int, periods: list[int], ratio: float) -> list[int]:
    new: list[int] = []
    for period in periods:
        new += rules.spans(begin, [period], ratio)
        begin += period
    return new


def loop_and_hooks(cfg: Config, ratio: float) -> list[Change]:
    """Rewrite the lengths of the loop and of hooks that count iterations."""
    changes: list[Change] = []

    def convert(updates: int, where: str) -> int:
        changes.append(Change(where, updates, rules.length(updates, ratio), SHARE))
        return rules.length(updates, ratio)

    train_cfg = cfg.get('train_cfg') or {}
    if train_cfg.get('max_iters') is not None:
        convert_keys(train_cfg, TRAIN_CFG, 'train_cfg', convert)
        convert_dynamic_intervals(train_cfg, convert)
    for hook, where in hooks_of(cfg):
        name = type_name(hook)
        if name == 'CheckpointHook' and not hook.get('by_epoch', True):
            convert_keys(hook, CHECKPOINT, where, convert)
        elif name == 'LoggerHook':
            convert_keys(hook, {'interval': None}, where, convert)
        elif name == 'EMAHook':
            convert_keys(hook, {'begin_iter': None}, where, convert)
            if type_name({'type': hook.get('ema_type')}) == 'ExpMomentumEMA':
                convert_keys(hook, {'gamma': 2000}, where, convert)
    return [change for change in changes if change.old != change.new]


def averages(cfg: Config, ratio: float, warnings: list[str]) -> Iterator[Change]:
    """Rewrite the momenta of averages of weights; one that is not known gets a warning."""
    for hook, where in hooks_of(cfg):
        name, ema_type = type_name(hook), hook.get('ema_type', 'ExponentialMovingAverage')
        if name not in ('EMAHook', 'MeanTeacherHook'):
            continue
        scope = cfg.get('default_scope') or 'mmengine'
        known = TEACHER if name == 'MeanTeacherHook' else momentum_of(ema_type, scope)
        if known is not None:
            old = hook.get('momentum', known.default)
            hook['momentum'] = known.rule(old, ratio)
            text = 'rho ** k' if known.rule is rules.weight_of_past else '1 - (1 - rho) ** k'
            yield Change(f'{where}.momentum', old, hook['momentum'], text, rules.BUSBRIDGE)
        elif 'momentum' in hook:
            warnings.append(
                f'{where}.momentum={hook["momentum"]} is left as it is, since {ema_type} does not '
                f'say how it weighs the past: its average spans {ratio:g} times the images.'
            )


def _update(cfg: Config, part: str, key: str) -> int | None:
    """An update above 0 that a part of the wrapper names, or None."""
    settings = cfg.optim_wrapper.get(part)
    update = settings.get(key) if isinstance(settings, dict) else None
    return update if is_count(update, 1) else None


def warmup(cfg: Config, batch: int) -> int:
    """Updates of warm-up; 0 without one, or where no update is tied to it."""
    if not any(_update(cfg, *one) for one in MOVED):
        return 0
    return warmup_end(cfg, batch) or 0


def windows(cfg: Config, old_warmup: int, batch: int, ratio: float) -> Iterator[Change]:
    """Rewrite the updates of ``agvm`` and ``clip_grad``; see :func:`.rules.near_warmup`."""
    new_warmup = warmup(cfg, batch)
    near = 'end of the warm-up + d' if old_warmup else SHARE
    for part, key in (*MOVED, ('agvm', 'end')):
        old = _update(cfg, part, key)
        if old is None:
            continue
        if (part, key) == ('agvm', 'end'):
            new, rule = rules.length(old, ratio), SHARE
        else:
            last = key == 'end'  # an end is the update after the last
            new, rule = rules.near_warmup(old - last, old_warmup, new_warmup, ratio) + last, near
        settings = cfg.optim_wrapper[part]
        if key == 'end':
            begin = settings.get('begin')
            new = max(new, begin + 1 if is_count(begin, 0) else 1)
        settings[key] = new
        if new != old:
            source = rules.XUE if rule == near and old_warmup else '-'
            yield Change(f'optim_wrapper.{part}.{key}', old, new, rule, source)
