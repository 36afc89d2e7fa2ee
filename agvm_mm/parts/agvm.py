"""AGVM: each module's learning rate is scaled by its measured gradient variance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from agvm_runs.settings import WHERE, AGVMSettings

from ..distributed import Communicator, ProcessGroupCommunicator, SingleProcess
from ..gradients import Collector, ShardedAllPairs, build_collector, shard_group
from ..optimizers.parameterwise import is_parameterwise
from ..optimizers.second_moments import build_preconditioner
from ..statistics import (
    ModulePartition,
    ScaleConfig,
    ScaleState,
    VarianceEstimate,
    counted,
    init_scales,
    partition_parameters,
    update_scales,
)
from . import report
from .agvm_setup import anchor_of, blocks_of, require_dense, require_several, require_two_samples
from .learning_rates import LearningRatePlan, split_warning
from .part import Part, Pass, Run

STATE_VERSION = 5


class AGVMPart(Part):
    """Measures the gradient variance of every module and scales the modules' learning rates.

    On an estimation step the order is: measure, scale the learning rates, step, restore.

    Args:
        values: the keys of :class:`agvm_runs.settings.AGVMSettings`.

    Attributes:
        settings: the checked keys.
        partition: the modules.
        anchor: the name of the one whose scale is 1.
        collector: where the estimates come from.
        plan: how the scales reach the optimizer.
        state: learning-rate scales and averages.
        skipped: number of estimates that were not finite.
        images: images in the batch of the last estimate; 0 if the model does not show them.
        renewed: the modules that the last estimation step measured, (M,), bool.
        observers: called with the update and its estimate, finite or not.
    """

    key = 'agvm'
    title = 'AGVM'
    where = WHERE
    needs_ranks = True

    partition: ModulePartition
    anchor: str
    collector: Collector
    plan: LearningRatePlan
    state: ScaleState

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.settings = AGVMSettings.from_dict(values)
        self.skipped = 0
        self.images = 0.0
        self._said_without_anchor = False
        self._ended = False
        self.observers: list[Callable[[int, VarianceEstimate], None]] = []

    @property
    def works_sharded(self) -> bool:
        """Whether the estimator needs no more than the gradients that are reduced."""
        return self.settings.estimator == 'all_pairs' and self.settings.precondition is False

    def divide(self, network: nn.Module) -> ModulePartition:
        """The modules of the settings; every trainable parameter is in exactly one of them."""
        return partition_parameters(network, self.settings.modules)

    def bind(self, run: Run) -> None:
        """Build the collector and the plan.

        Raises:
            ValueError: the set-up cannot work; see docs/training.md.
        """
        settings, partition = self.settings, run.partition
        halves = settings.estimator == 'half_split'
        communicator: Communicator = (
            SingleProcess() if run.group is None else ProcessGroupCommunicator(run.group, halves)
        )
        require_two_samples(communicator.size, run.accumulation)
        require_dense(run.network, 'AGVM cannot measure')
        require_several(settings, partition)
        self.partition = partition
        self.collector = (
            build_collector(
                settings.estimator,
                partition,
                communicator,
                build_preconditioner(run.optimizer) if settings.precondition is True else None,
                blocks_of(settings, run),
            )
            if shard_group(run.network) is None
            else ShardedAllPairs(run.network, partition, communicator)
        )
        self.anchor = anchor_of(settings, partition, run.network)
        anchor = partition.index(self.anchor)
        # A frozen parameter outside of the modules moves with the anchor, whose scale is 1.
        module_of = {
            parameter: partition.index(name) if name in partition.names else anchor
            for parameter, name in run.module_of.items()
        }
        self.plan = LearningRatePlan(run.optimizer, module_of, anchor)
        if settings.apply and self.plan.splits_groups and not is_parameterwise(run.optimizer):
            run.log.say(split_warning(run.optimizer), warning=True)
        low, high = settings.clamp
        self._config = ScaleConfig(
            anchor=anchor,
            average=settings.averaging,
            momentum=float(settings.momentum),
            clamp=(float(low), float(high)),
            eps=float(settings.eps),
        )
        self._log = run.log
        self._forget()
        run.log.say(
            report.start(settings, self.anchor, partition, communicator.size, run.accumulation)
        )

    def restart(self) -> None:
        """Forget averages and scales, because the gradients are about to change in kind."""
        self._forget()
        self._log.drop(report.outdated(self.partition.names, {}))

    def _forget(self) -> None:
        self.state = init_scales(len(self.partition))
        self.renewed = torch.zeros(len(self.partition), dtype=torch.bool)

    def scales(self, update: int) -> list[float]:
        """The multiplier of each module's learning rate on ``update``."""
        if self.settings.applies_at(update):
            scales: list[float] = self.state.scales.tolist()  # element by element is slow
            return scales
        return [1.0] * len(self.partition)

    def rows(self, update: int) -> list[report.ModuleRow]:
        """The state of every module before ``update``."""
        rates = [float(rate) for rate in self.plan.base_rates(len(self.partition))]
        return report.rows(self.partition, self.state, self.phi_ends, self.scales(update), rates)

    @property
    def phi_ends(self) -> tuple[Tensor, Tensor]:
        """Lower and upper ends of the 95 % interval of the averaged normalised variance, (M,)."""
        return self.state.phi_ends(self._config.momentum)

    def watches(self, update: int) -> bool:
        """Whether ``update`` is an estimation step."""
        return self.settings.estimates_at(update)

    def around_backward(self, this: Pass) -> AbstractContextManager[None]:
        """Measure the gradients as they arrive, if the update has two samples."""
        if this.count * self.collector.communicator.size < 2:
            return nullcontext()
        return self.collector.around_backward(this.index, this.count, this.images)

    def after_backward(self, this: Pass) -> None:
        """Estimate, on an estimation step."""
        if self.settings.estimates_at(this.update):
            self._estimate(this)

    @contextmanager
    def around_step(self, this: Pass) -> Iterator[None]:
        """Step with scaled learning rates, log."""
        due = self.settings.estimates_at(this.update)
        scales = self.scales(this.update)
        with self.plan.scaled(scales):
            yield
        names = self.partition.names
        self._log.scalars(report.learning_rates(names, self.plan.base_rates(len(names)), scales))
        ended = self.settings.end is not None and this.update >= self.settings.end
        if ended:
            self.renewed = torch.zeros_like(self.renewed)
        if due or (ended and not self._ended):
            self._ended = ended
            figures = report.estimate(names, self.state, self.phi_ends, self.renewed)
            self._log.drop(report.outdated(names, figures))
            self._log.scalars(figures)

    def _estimate(self, this: Pass) -> None:
        """Update the scales with the estimate of this update, if there is one.

        A non-finite estimate changes nothing. All ranks decide on the same reduced numbers.
        """
        self.renewed = torch.zeros_like(self.renewed)
        estimate = self.collector.estimate(this.loss_scale)
        if estimate is None:
            return
        self.images = estimate.images
        if not estimate.finite:
            self.skipped += 1
            if self.skipped == 1:
                self._log.say(report.skipped(this.update), warning=True)
        elif not estimate.valid[self._config.anchor] and not self._said_without_anchor:
            self._said_without_anchor = True
            text = report.without_anchor(self.anchor, this.update)
            self._log.say(text, warning=True)
        self.renewed = counted(estimate, self._config)
        self.state = update_scales(self.state, estimate, self._config)
        for observe in self.observers:
            observe(this.update, estimate)

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers and strings; a checkpoint of them loads with ``weights_only=True``."""
        return {
            'version': STATE_VERSION,
            'skipped': self.skipped,
            'images': self.images,
            'modules': self.state.to_dict(self.partition.names),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of :meth:`state_dict`.

        Raises:
            ValueError: another format, or other modules than this model's.
        """
        if state.get('version') != STATE_VERSION:
            raise ValueError(
                f'the checkpoint holds AGVM state of version {state.get("version")!r}, this '
                f'release reads {STATE_VERSION}: resume with the release that wrote it.'
            )
        self.state = ScaleState.from_dict(state['modules'], self.partition.names)
        self.skipped = int(state['skipped'])
        self.images = float(state['images'])
