"""Hooks that act at an epoch or iteration, whose settings mean the run at full size.

A hook that acts at epoch e of n acts in the curriculum's run at the first epoch that begins after
the share e / n of the compute, as a schedule's milestone does. A number of last epochs covers the
same share of the compute.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log

from agvm_runs.checks import is_count

from .stages import Schedule

# What a hook acts at, and the number that it gives to the first epoch or iteration.
EPOCHS = {'switch_epoch': 0, 'epochs': 0, 'begin_epoch': 1}
ITERATIONS = {'begin_iter': 1}
LAST_EPOCHS = 'num_last_epochs'
COUNT = re.compile(r'(^|_)(epochs?|iters?|iterations?)(_|$)')


def follow_compute(
    hooks: Iterable[Hook], schedule: Schedule, full_iterations: int, full_epochs: int, epoch: int
) -> None:
    """Set the hooks that act at an epoch or iteration to their place in the curriculum's run.

    Logs every change, and warns of a hook with a count of another name, which is left as it is.

    Args:
        hooks: of the run.
        schedule: the stages of the run.
        full_iterations: length of the run at full size.
        full_epochs: the same in epochs.
        epoch: iterations of an epoch; 0 in a run without epochs.
    """
    for hook in hooks:
        for name, value in _settings(hook):
            where = f'Curriculum: {type(hook).__name__}.{name} = {value}'
            if name in ITERATIONS:
                place = _moved(value, ITERATIONS[name], schedule, full_iterations)
            elif name in EPOCHS and epoch:
                place = _moved(value, EPOCHS[name], schedule, full_epochs, epoch)
            elif name == LAST_EPOCHS and epoch:  # YOLOXModeSwitchHook acts one epoch before them
                begin = schedule.first_at((full_epochs - value - 1) / full_epochs, epoch)
                place = schedule.total // epoch - begin - 1
            else:
                print_log(
                    f'{where} counts epochs or iterations of this run and was not converted: this '
                    f'run has {schedule.total} iterations, the config has {full_iterations}.',
                    logger='current',
                    level=logging.WARNING,
                )
                continue
            if place != value:
                setattr(hook, name, place)
                print_log(
                    f'{where} becomes {place}, at the same share of the compute', logger='current'
                )


def _settings(hook: Hook) -> Iterator[tuple[str, Any]]:
    """Public settings of a hook whose name says that they count epochs or iterations."""
    for name, value in list(vars(hook).items()):
        counts = value if isinstance(value, (list, tuple)) else [value]
        named = COUNT.search(name) and not name.startswith('_')
        if named and counts and all(is_count(count, 1) for count in counts):
            yield name, value


def _moved(value: Any, first: int, schedule: Schedule, length: int, every: int = 1) -> Any:
    """A count, or each of several, at its share of ``length`` pieces of ``every`` iterations."""
    if isinstance(value, (list, tuple)):
        return type(value)(_moved(count, first, schedule, length, every) for count in value)
    return schedule.first_at((value - first) / length, every) + first
