"""One model's gradient variance, measured and turned into learning-rate factors."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from ..gradients import Collector
from ..statistics import (
    FactorConfig,
    FactorState,
    ModulePartition,
    VarianceEstimate,
    counted,
    init_factors,
    update_factors,
)
from .settings import AGVMSettings

STATE_VERSION = 3


class Modulator:
    """Clock, statistics and factors of one run; knows nothing of MMEngine.

    One update is: :meth:`capture` round each backward pass, :meth:`observe` before anything
    alters the gradients, the optimizer's step with :attr:`factors`, :meth:`advance`.

    Args:
        settings: when to estimate and how to average.
        partition: the modules.
        collector: where the estimates come from.
        updates: optimizer updates already made.

    Attributes:
        update: optimizer updates made, the clock of the settings.
        skipped: estimates that were not finite.
        images: images in the batch of the last estimate; 0 when the model does not tell.
        renewed: the modules whose averages the last estimation step renewed, (M,), bool.
        state: factors and averages.
    """

    def __init__(
        self,
        settings: AGVMSettings,
        partition: ModulePartition,
        collector: Collector,
        updates: int = 0,
    ) -> None:
        self.settings = settings
        self.partition = partition
        self.collector = collector
        self.update = updates
        self.skipped = 0
        self.images = 0.0
        self.renewed = torch.zeros(len(partition), dtype=torch.bool)
        self.state: FactorState = init_factors(len(partition))
        low, high = settings.clamp
        self._config = FactorConfig(
            anchor=partition.index(settings.anchor),
            average=settings.averaging,
            momentum=float(settings.momentum),
            clamp=(float(low), float(high)),
            eps=float(settings.eps),
        )

    @property
    def due(self) -> bool:
        """Whether the present update is an estimation step."""
        return self.settings.estimates_at(self.update)

    @property
    def over(self) -> bool:
        """Whether no estimate is to come any more."""
        return self.settings.end is not None and self.update >= self.settings.end

    @property
    def factors(self) -> list[float]:
        """What multiplies each module's learning rate on the present update."""
        if self.settings.applies_at(self.update):
            factors: list[float] = self.state.factors.tolist()  # element by element is slow
            return factors
        return [1.0] * len(self.partition)

    @property
    def phi_error(self) -> Tensor:
        """Standard error of the averaged normalised variance, (M,)."""
        return self.state.phi_error(self._config.momentum)

    def capture(self, index: int, count: int, images: int) -> AbstractContextManager[None]:
        """Around backward pass ``index`` of ``count``, over ``images`` images of this rank."""
        if not self.due or count * self.collector.communicator.size < 2:
            return nullcontext()
        return self.collector.capture(index, count, images)

    def observe(self, loss_scale: float = 1.0) -> VarianceEstimate | None:
        """Take the estimate of this update into the factors; None where there is none.

        A non-finite estimate is returned but changes nothing. All ranks decide on the same
        reduced numbers.
        """
        if not self.due:
            return None
        self.renewed = torch.zeros_like(self.renewed)
        estimate = self.collector.reduce(loss_scale)
        if estimate is None:
            return None
        self.images = estimate.images
        if not estimate.finite:
            self.skipped += 1
        self.renewed = counted(estimate, self._config)
        self.state = update_factors(self.state, estimate, self._config)
        return estimate

    def advance(self) -> None:
        """Count the update as made."""
        self.update += 1
        if self.over:
            self.renewed = torch.zeros_like(self.renewed)

    def restart(self) -> None:
        """Forget averages and factors, as at the start of a run; the clock goes on."""
        self.state = init_factors(len(self.partition))
        self.renewed = torch.zeros_like(self.renewed)

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers and strings, so that a checkpoint loads with ``weights_only=True``."""
        return {
            'version': STATE_VERSION,
            'update': self.update,
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
        self.state = FactorState.from_dict(state['modules'], self.partition.names)
        self.update = int(state['update'])
        self.skipped = int(state['skipped'])
        self.images = float(state['images'])
