"""The hook that leads a run through its curriculum."""

from __future__ import annotations

import math
from typing import Any

from mmengine.hooks import Hook, ParamSchedulerHook
from mmengine.logging import print_log
from mmengine.optim import OptimWrapperDict
from mmengine.registry import HOOKS
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, Runner

from agvm_runs.checks import is_number, require

from ..hooks import ExactAccumulationHook
from ..parts import AGVMPart
from ..wrappers import PartsMixin, accumulation, set_accumulation
from .augmentation import set_strength
from .epoch_hooks import follow_compute
from .preprocessor import LowFrequencyMixin
from .presets import BUDGETS
from .published import published_schedule
from .replay import ReplayBuffer
from .scheduler import ComputeParamSchedulerHook
from .settings import WHERE, read_stages
from .stages import Schedule, real_length
from .trial import try_ratio

STATISTICS = ('carry', 'restart')


@HOOKS.register_module()
class CurriculumHook(Hook):
    """Small images and weak augmentation first.

    The lengths and schedules of the config stay those of the run at full size. The hook extends
    the training loop so that the run costs ``budget`` times as much compute as that one, and
    :class:`.scheduler.ComputeParamSchedulerHook`, which has to be
    ``default_hooks.param_scheduler``, steps the schedules by the share of compute. Everything is
    a function of the iteration: nothing is saved, and all ranks agree. The real length is logged
    as ``curriculum/length``, in epochs or iterations as the config counts them, beside
    ``curriculum/ratio`` and ``curriculum/compute``.

    Args:
        stages: name of a preset (:mod:`.presets`), or a list of dicts with the keys of
            :class:`.stages.Stage`.
        budget: compute of the run over that of the config at full size; None for the preset's.
        whole_epochs: in an epoch-based run switch at the ends of epochs, rounded as in the
            published scripts (:mod:`.published`).
        statistics: what becomes of AGVM's averages and scales where the size of the images
            changes, 'carry' or 'restart'.

    Raises:
        ValueError: for a wrong value, and at the start of a run that does not fit.
    """

    priority = 'ABOVE_NORMAL'  # before schedules and checkpoints

    def __init__(
        self,
        stages: Any = 'efficienttrain++',
        budget: float | None = None,
        whole_epochs: bool = False,
        statistics: str = 'carry',
    ) -> None:
        self.stages = read_stages(stages)
        if budget is None:
            budget = BUDGETS.get(stages, 1.0) if isinstance(stages, str) else 1.0
        require(is_number(budget) and budget > 0, 'budget', budget, 'a positive number', WHERE)
        require(statistics in STATISTICS, 'statistics', statistics, "'carry' or 'restart'", WHERE)
        whole = isinstance(whole_epochs, bool)
        require(whole, 'whole_epochs', whole_epochs, 'True or False', WHERE)
        self.budget = float(budget)
        self.whole_epochs = whole_epochs
        self.statistics = statistics
        self.schedule: Schedule | None = None
        self.length = 0
        self.full_length = 0
        self.full_epochs = 0
        self._stage: int | None = None
        self._counts = 1
        self._rates: list[Any] = []
        self._buffer = ReplayBuffer(0)
        self._preprocessors: list[LowFrequencyMixin] = []

    def before_run(self, runner: Runner) -> None:
        """Lay out the stages and extend the training loop; nothing in a test."""
        loop = runner._train_loop
        if self.schedule is not None or not isinstance(loop, BaseLoop):
            return
        self._check(runner)
        self._counts = accumulation(runner.optim_wrapper)
        multiple = math.lcm(*(self._counts * stage.batch for stage in self.stages))
        self.full_length, self.full_epochs = loop.max_iters, loop.max_epochs
        if not isinstance(loop, EpochBasedTrainLoop):
            require(not self.whole_epochs, 'whole_epochs', True, 'False without epochs', WHERE)
            total = real_length(self.stages, loop.max_iters, self.budget)
            self.schedule = Schedule.divide(self.stages, total, multiple)
            self.length = total
        else:
            self.schedule = self._lay_out_epochs(loop, multiple)
            self.length = loop._max_epochs = self.schedule.total // len(loop.dataloader)
        loop._max_iters = self.schedule.total
        print_log(self._describe(self.schedule), logger='current')
        self._lead(runner, len(loop.dataloader) if isinstance(loop, EpochBasedTrainLoop) else 0)

    def before_train(self, runner: Runner) -> None:
        """Find what the stages act on."""
        self._stage = None
        self._preprocessors = [
            module for module in runner.model.modules() if isinstance(module, LowFrequencyMixin)
        ]
        if not self._preprocessors and any(stage.ratio < 1 for stage in self.stages):
            raise ValueError(
                f'{WHERE} makes images smaller and model.data_preprocessor cannot; allowed is '
                "type='LowFreqDetDataPreprocessor' or type='LowFreqSegDataPreprocessor'."
            )
        wrapper = runner.optim_wrapper
        if self.schedule is not None:
            # FlexibleRunner has told the wrapper the length before it was extended.
            set_accumulation(wrapper, accumulation(wrapper), self.schedule.total)

    def before_train_epoch(self, runner: Runner) -> None:
        """Set the strength of augmentation, before loader processes start on the epoch."""
        assert self.schedule is not None
        set_strength(self.schedule.strength_at(runner.iter))

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Bring model, optimizer and batch to the stage of the coming iteration."""
        assert self.schedule is not None
        index = self.schedule.stage_at(runner.iter)
        stage = self.stages[index]
        if self._stage is None:
            smallest = min(stage.ratio for stage in self.stages)
            if smallest < 1:
                try_ratio(runner, self._preprocessors, smallest, data_batch)
        if index != self._stage:
            self._enter(runner, index)
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            set_strength(self.schedule.strength_at(runner.iter))
        if stage.replay > 1:
            rank_seed = runner.seed if runner.seed is not None else 0
            self._buffer.extend(data_batch, stage.replay, (rank_seed, runner.rank, runner.iter))
        if stage.lr != 1.0:
            groups = runner.optim_wrapper.optimizer.param_groups
            self._rates = [group['lr'] for group in groups]
            for group in groups:
                group['lr'] = group['lr'] * stage.lr
        hub = runner.message_hub
        hub.update_scalar('train/curriculum/ratio', stage.ratio)
        hub.update_scalar('train/curriculum/compute', self.schedule.compute_at(runner.iter + 1))
        hub.update_scalar('train/curriculum/length', self.length)

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Give the learning rates back that schedules and checkpoints know."""
        if self._rates:
            for group, rate in zip(runner.optim_wrapper.optimizer.param_groups, self._rates):
                group['lr'] = rate
            self._rates = []

    def after_train(self, runner: Runner) -> None:
        """Leave no augmentation to another run of the same process."""
        set_strength(0.0)

    def _enter(self, runner: Runner, index: int) -> None:
        assert self.schedule is not None
        stage, wrapper = self.stages[index], runner.optim_wrapper
        for preprocessor in self._preprocessors:
            preprocessor.ratio = stage.ratio
        if any(other.batch > 1 for other in self.stages):
            set_accumulation(wrapper, self._counts * stage.batch)
        self._buffer = ReplayBuffer(stage.buffer)
        begins = index > 0 and runner.iter == self.schedule.starts[index]
        if begins and self.statistics == 'restart' and isinstance(wrapper, PartsMixin):
            part = wrapper.part(AGVMPart)
            if part is not None:
                part.restart()
        self._stage = index
        print_log(
            f'Curriculum: stage {index + 1} of {len(self.stages)} from iteration {runner.iter}, '
            f'images at {stage.ratio:.3f} of their size',
            logger='current',
        )

    def _lead(self, runner: Runner, epoch: int) -> None:
        """Have schedules and hooks follow the compute; ``epoch`` is its length in iterations."""
        assert self.schedule is not None
        others = []
        for hook in runner.hooks:
            if isinstance(hook, ComputeParamSchedulerHook):
                hook.follow(self.schedule, self.full_length, self.full_epochs)
            elif hook is not self:
                others.append(hook)
        follow_compute(others, self.schedule, self.full_length, self.full_epochs, epoch)

    def _lay_out_epochs(self, loop: EpochBasedTrainLoop, multiple: int) -> Schedule:
        length = len(loop.dataloader)
        if not self.whole_epochs:
            epochs = real_length(self.stages, loop.max_epochs, self.budget)
            return Schedule.divide(self.stages, epochs * length, multiple)
        schedule = published_schedule(self.stages, round(loop.max_epochs * self.budget), length)
        require(
            all(end % multiple == 0 for end in schedule.ends[:-1]),
            'whole_epochs',
            True,
            f'False where epochs of {length} iterations end inside an optimizer update',
            WHERE,
        )
        return schedule

    def _check(self, runner: Runner) -> None:
        for hook in runner.hooks:
            if isinstance(hook, ParamSchedulerHook):
                require(
                    isinstance(hook, ComputeParamSchedulerHook),
                    'default_hooks.param_scheduler.type',
                    type(hook).__name__,
                    "'ComputeParamSchedulerHook' with CurriculumHook",
                    'cfg',
                )
            replays = [stage.replay for stage in self.stages if stage.replay > 1]
            if isinstance(hook, ExactAccumulationHook) and replays:
                allowed = '1 with ExactAccumulationHook, which counts a batch before its replay'
                require(False, 'stages.replay', replays[0], allowed, WHERE)
        if isinstance(runner.optim_wrapper, OptimWrapperDict):
            raise ValueError(
                f'{WHERE} needs one optimizer for the whole model and optim_wrapper is '
                f'{type(runner.optim_wrapper).__name__}; allowed is OptimWrapper or a subclass.'
            )

    def _describe(self, schedule: Schedule) -> str:
        cost = schedule.cost_at(schedule.total)
        lines = [
            f'Curriculum: {schedule.total} iterations that cost {cost:.0f} at full size, where the '
            f'config has {self.full_length}'
        ]
        for stage, start, end in zip(schedule.stages, schedule.starts, schedule.ends):
            lines.append(
                f'  {start:>8} to {end:>8}  images at {stage.ratio:.3f} of their size, '
                f'strength {", ".join(f"{value:g}" for value in stage.strength)}'
            )
        return '\n'.join(lines)
