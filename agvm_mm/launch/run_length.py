"""What a run is too short for, and what its checkpoints cut in two, said before it begins.

All of it trains, and none of it as the config reads: a warm-up that the run never leaves, an AGVM
that never measures, a checkpoint that loses half an update.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from typing import Any

from mmengine.dist import get_world_size
from mmengine.hooks import CheckpointHook, Hook, ParamSchedulerHook
from mmengine.logging import print_log
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop

from agvm_runs.checks import counted

from ..curriculum import ComputeParamSchedulerHook
from ..hooks import UpdateParamSchedulerHook
from ..parts import AGVMPart
from ..wrappers import PartsMixin, accumulation
from .errors import Note
from .estimates import plan_of_estimates
from .lengths import schedules_of
from .warmup import end_of_rise

NO_END = int(1e9)  # MMEngine's


class RunLengthHook(Hook):
    """Compares the lengths of a config with the run that was built from it; the tools add it.

    It warns once of each of these, and changes none:

    - the data set, or the whole run, is smaller than one update;
    - ``agvm.begin`` or ``clip_grad.begin`` lies behind the last update;
    - epochs have another length than the updates that are tied to the warm-up were counted for;
    - a schedule begins or ends behind the end of the run, or counts epochs in a run of iterations;
    - checkpoints by the epoch fall inside an update, of which they hold no gradients.

    Checkpoints by the iteration are moved to the end of an update.
    """

    priority = 'VERY_LOW'  # a curriculum changes the length of the run

    def before_train(self, runner: Any) -> None:
        """Say it."""
        counts = accumulation(runner.optim_wrapper)
        for text in (
            *_short_of_an_update(runner, counts),
            *_late_begins(runner, counts),
            *_other_epochs(runner, counts),
            *_long_schedules(runner, counts),
            *_cut_updates(runner, counts),
        ):
            print_log(text, logger='current', level=logging.WARNING)
        note = _estimates(runner, counts)
        if note is not None:
            print_log(note.text, logger='current', level=note.level)


def _estimates(runner: Any, counts: int) -> Note | None:
    wrapper = runner.optim_wrapper
    part = wrapper.part(AGVMPart) if isinstance(wrapper, PartsMixin) else None
    if part is None:
        return None
    updates, ends = math.ceil(runner.max_iters / counts), []
    for (_, length, _), entry in zip(_schedules(runner, counts), schedules_of(runner.cfg)):
        end = end_of_rise(entry)
        if end is not None:
            # MMEngine may have turned the epochs of an entry into iterations.
            length = runner.max_epochs if entry.get('by_epoch', True) else length
            ends.append(math.ceil(end * runner.max_iters / counts / length))
    return plan_of_estimates(part.settings, updates, max(ends, default=None))


def _schedules(runner: Any, counts: int) -> Iterator[tuple[Any, int, str]]:
    """The schedules, the length of the run in the unit of each, and that unit."""
    hook = next((one for one in runner.hooks if isinstance(one, ParamSchedulerHook)), None)
    if isinstance(hook, ComputeParamSchedulerHook) or not isinstance(runner.param_schedulers, list):
        return
    for index, schedule in enumerate(runner.param_schedulers):
        if schedule.by_epoch:
            yield schedule, runner.max_epochs, 'epoch'
        elif isinstance(hook, UpdateParamSchedulerHook) and index not in hook.converted:
            yield schedule, math.ceil(runner.max_iters / counts), 'update'
        else:
            yield schedule, runner.max_iters, 'iteration'


def _short_of_an_update(runner: Any, counts: int) -> Iterator[str]:
    loader, ranks = runner.train_dataloader, get_world_size()
    size = getattr(loader.batch_sampler, 'batch_size', None)
    if runner.max_iters < counts:
        yield (
            f'The run has {counted(runner.max_iters, "micro-batch")} and an update takes {counts}: '
            'it makes one update, of fewer images than the batch of the config; lower '
            'total_batch_size or accumulative_counts, or train for longer.'
        )
    elif isinstance(size, int) and len(loader.dataset) < ranks * size * counts:
        parts = f'{counted(ranks, "rank")} x {counted(size, "image")} x {counts} micro-batches'
        yield (
            f'The data set has {counted(len(loader.dataset), "image")} and an update takes '
            f'{ranks * size * counts} ({parts}): every update sees images more than once; lower '
            'total_batch_size or accumulative_counts, or take more data.'
        )


def _late_begins(runner: Any, counts: int) -> Iterator[str]:
    wrapper, updates = runner.optim_wrapper, math.ceil(runner.max_iters / counts)
    if not isinstance(wrapper, PartsMixin):
        return
    run = f'the run has {counted(updates, "update")}'
    agvm = wrapper.part(AGVMPart)
    # The last update may be a single sample gradient, of which there is no variance.
    measurable = updates - (runner.max_iters % counts * get_world_size() == 1)
    if agvm is not None and not agvm.settings.estimation_steps(measurable):
        begin, interval = agvm.settings.begin, agvm.settings.interval
        yield (
            f'AGVM never measures: it begins at update {begin} (optim_wrapper.agvm.begin) and '
            f'measures every {counted(interval, "update")} from 0 on (interval), and {run}.'
        )
    begin = wrapper._clip_window.begin
    if begin >= updates:
        yield (
            f'No gradient is clipped: clipping begins at update {begin} '
            f'(optim_wrapper.clip_grad.begin) and {run}.'
        )


def _other_epochs(runner: Any, counts: int) -> Iterator[str]:
    given = (runner.cfg.get('auto_scale_lr') or {}).get('epoch_images')
    wrapper, loader = runner.optim_wrapper, runner.train_dataloader
    size = getattr(loader.batch_sampler, 'batch_size', None)
    if given is None or size is None or not isinstance(wrapper, PartsMixin):
        return
    agvm, batch = wrapper.part(AGVMPart), get_world_size() * size * counts
    tied = wrapper._clip_window.begin > 0 or (agvm is not None and agvm.settings.begin > 0)
    expected, found = (math.ceil(images / batch) for images in (given, len(loader.dataset)))
    if tied and expected != found:
        yield (
            f'auto_scale_lr.epoch_images is {given} and the data set has '
            f'{counted(len(loader.dataset), "image")}: agvm.begin and the window of clip_grad are '
            f'set for epochs of {counted(expected, "update")}, and an epoch has {found}; correct '
            'epoch_images or leave it out.'
        )


def _long_schedules(runner: Any, counts: int) -> Iterator[str]:
    for index, (schedule, length, unit) in enumerate(_schedules(runner, counts)):
        where = f'param_scheduler[{index}] ({type(schedule).__name__})'
        if schedule.by_epoch and isinstance(runner.train_loop, IterBasedTrainLoop):
            yield (
                f'{where} is set for epochs {schedule.begin} to {schedule.end}, and the run has '
                f'{counted(runner.max_iters, "iteration")} and no epochs: it steps once, at the '
                'end of the run; set by_epoch=False and its lengths in iterations, or '
                'convert_to_iter_based=True.'
            )
            continue
        run = f'and the run has {counted(length, unit)}'
        milestones = getattr(schedule, 'milestones', None)  # all that counts in such a schedule
        if schedule.begin >= length:
            yield f'{where} begins at {unit} {schedule.begin} {run}: it never takes effect.'
        elif milestones is not None:
            if max(milestones, default=0) >= length:
                last = f'The last milestone of {where} is {unit} {max(milestones)}'
                yield f'{last} {run}: it is never reached.'
        elif length < schedule.end < NO_END:
            yield f'{where} ends at {unit} {schedule.end} {run}: the run stops on its way.'


def _cut_updates(runner: Any, counts: int) -> Iterator[str]:
    hooks = [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]
    for hook in (one for one in hooks if one.interval > 0):
        if isinstance(runner.train_loop, EpochBasedTrainLoop) and hook.by_epoch:
            length = len(runner.train_dataloader)
            if hook.interval * length % counts and runner.max_epochs > hook.interval:
                epochs = counts // math.gcd(counts, length)
                yield (
                    f'An epoch has {counted(length, "micro-batch")} and an update {counts}, so '
                    f'that the checkpoint of epoch {hook.interval} falls inside an update and '
                    'loses its gradients: a run that is resumed from it differs from one without '
                    'interruption; set default_hooks.checkpoint.interval to a multiple of '
                    f'{epochs}, or choose a batch that divides an epoch.'
                )
        elif isinstance(runner.train_loop, IterBasedTrainLoop) and not hook.by_epoch:
            given = (hook.interval, hook.save_begin)
            hook.interval, hook.save_begin = (-(-length // counts) * counts for length in given)
            if (hook.interval, hook.save_begin) != given:
                yield (
                    f'A checkpoint is saved every {hook.interval} iterations from iteration '
                    f'{hook.save_begin} on, not every {given[0]} from {given[1]} on: that is at '
                    f'the end of an update of {counts} micro-batches, where nothing is lost.'
                )
