"""The optimizer wrappers that a config names."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import wraps
from types import MappingProxyType
from typing import Any, TypeVar, cast

import torch
from mmengine.logging import print_log
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import Tensor, nn
from torch.optim import Optimizer

from ..statistics import VarianceEstimate
from . import report
from .binding import ImageCounter, bind, module_names, unwrapped
from .clip import split_adaptive, split_window
from .exchange import merged, shown
from .kfac import KFACPart
from .lr_plan import LearningRatePlan
from .modulator import Modulator
from .settings import AGVMSettings
from .total_batch import require_applied_here

STATE_KEY = 'agvm'
KFAC_KEY = 'kfac'
UPDATES_KEY = 'updates'
DEFAULTS: Mapping[str, Any] = MappingProxyType({})
Method = TypeVar('Method', bound=Callable[..., Any])


def outside_graphs(method: Method) -> Method:
    """Keep a method out of the graphs of ``torch.compile``.

    ``torch.compiler.disable`` imports the compiler, for seconds, and is therefore left for the
    first call: whoever has built an optimizer has it imported.
    """
    disabled: Callable[..., Any] | None = None

    @wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal disabled
        if disabled is None:
            disabled = torch.compiler.disable(method)
        return disabled(*args, **kwargs)

    return cast(Method, call)


class AGVMMixin(OptimWrapper):
    """Adds AGVM to an MMEngine optimizer wrapper; put it first in the class's bases.

    On an estimation step the order is: measure, precondition, unscale and clip, scale the learning
    rates by the factors, step, restore. Everything else is the base wrapper's.

    Args:
        agvm: keys of :class:`agvm_mm.optim.settings.AGVMSettings`; None switches AGVM off.
        kfac: keys of :class:`agvm_mm.kfac.KFACSettings`; None, the default, for no K-FAC.
        clip_grad: as in MMEngine, or ``type='agc'`` with the options of
            :class:`agvm_mm.optim.adaptive_clip.AdaptiveClip`; and a window of updates ``begin``,
            ``end`` (exclusive).
        **kwargs: of the base wrapper.

    Raises:
        ValueError: here for a wrong value; when the model is seen for a set-up that can't work.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        agvm: Mapping[str, Any] | None = DEFAULTS,
        kfac: Mapping[str, Any] | None = None,
        clip_grad: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        clipping, self._clip_window = split_window(clip_grad)
        clipping, self._adaptive = split_adaptive(clipping)
        super().__init__(optimizer=optimizer, clip_grad=clipping, **kwargs)
        if self._adaptive is not None:
            self.clip_func, self.clip_grad_kwargs = self._adaptive, self._adaptive.options
        self._settings = None if agvm is None else AGVMSettings.from_dict(agvm)
        self._kfac = None if kfac is None else KFACPart(kfac, self.optimizer)
        self._modulator: Modulator | None = None
        self._plan: LearningRatePlan | None = None
        self._pending: dict[str, Any] | None = None
        self._images = ImageCounter()
        self._groups: list[dict[str, Any]] = []  # those of the config, while others step
        self._updates = 0
        self._resumed: int | None = None
        self._began = False
        self._launch_checked = False

    @property
    def modulator(self) -> Modulator | None:
        """The statistics and factors; None before the model was seen or with ``agvm=None``."""
        return self._modulator

    @property
    def kfac(self) -> KFACPart | None:
        """The second-order part; None without ``kfac``."""
        return self._kfac

    @property
    def plan(self) -> LearningRatePlan | None:
        """How the factors reach the optimizer; None as for :attr:`modulator`."""
        return self._plan

    def initialize_count_status(self, model: nn.Module, init_counts: int, max_counts: int) -> None:
        """See :class:`mmengine.optim.OptimWrapper`; the first sight of the model."""
        super().initialize_count_status(model, init_counts, max_counts)
        self._begin(model, init_counts)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """See :class:`mmengine.optim.OptimWrapper`; begins where no runner counted before."""
        if not self._launch_checked:
            self._launch_checked = True
            require_applied_here(self.message_hub)
        if not self._began:
            self._begin(model, self.message_hub.get_info('iter', 0))
        with super().optim_context(model):
            yield

    @outside_graphs
    def update_params(self, *args: Any, **kwargs: Any) -> None:
        """See :class:`mmengine.optim.OptimWrapper`; all of it as written, never compiled."""
        super().update_params(*args, **kwargs)

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Back-propagate; on an estimation step the gradient is measured on its way."""
        modulator, kfac = self._modulator, self._kfac
        sample = (*self._pass_of_update(), self._images.take())
        measure = nullcontext() if modulator is None else modulator.capture(*sample)
        factors = nullcontext() if kfac is None else kfac.capture(*sample, self._loss_scale())
        with measure, factors:
            super().backward(loss, **kwargs)

    def step(self, **kwargs: Any) -> None:
        """Step with every module's learning rate scaled by its factor."""
        self._groups = self.optimizer.param_groups
        if self._settings is None:
            with self._preconditioned(), merged(self.optimizer):
                super().step(**kwargs)
            self._updates += 1
            return
        modulator, plan = self._require_bound()
        estimate = modulator.observe(self._loss_scale()) if modulator.due else None
        # The KL clip bounds the step that is made, so K-FAC sees the scaled rates.
        with plan.scaled(modulator.factors), self._preconditioned():
            super().step(**kwargs)
        self._publish(modulator, plan, estimate)
        modulator.advance()
        self._updates = modulator.update

    def restart_statistics(self) -> None:
        """Forget AGVM's averages and factors, where the gradients are about to change in kind."""
        if self._modulator is not None:
            self._modulator.restart()

    def state_dict(self) -> dict[str, Any]:
        """The base wrapper's state; under 'agvm' and 'kfac' factors, averages and counters.

        A part that the config has left out leaves the state: its figures would be old ones.
        """
        state: dict[str, Any] = super().state_dict()
        if self._settings is None:
            state[UPDATES_KEY] = self._updates  # else AGVM counts them
        if self._modulator is not None:
            state[STATE_KEY] = self._modulator.state_dict()
        elif self._pending is not None and self._settings is not None:
            state[STATE_KEY] = self._pending
        second_order = None if self._kfac is None else self._kfac.state_dict()
        if second_order is not None:
            state[KFAC_KEY] = second_order
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Inverse of :meth:`state_dict`; a plain wrapper's checkpoint leaves the factors at 1."""
        rest = dict(state_dict)
        self._pending = rest.pop(STATE_KEY, None)
        self._resumed = rest.pop(UPDATES_KEY, (self._pending or {}).get('update'))
        second_order = rest.pop(KFAC_KEY, None)
        super().load_state_dict(rest)
        if self._kfac is not None:
            self._kfac.load_state_dict(second_order)
        if self._modulator is not None:
            self._restore(self._modulator)

    def _refuse_engine(self, engine: object) -> None:
        """DeepSpeedStrategy sets ``model`` at the start and then trains past this wrapper."""
        raise ValueError(
            f'optim_wrapper.type is {type(self).__name__} and strategy.type is DeepSpeedStrategy, '
            'whose engine makes the backward pass and the step itself; set '
            "strategy.type='DDPStrategy', or optim_wrapper.type='DeepSpeedOptimWrapper' to train "
            'without AGVM.'
        )

    model = property(fset=_refuse_engine)

    def _preconditioned(self) -> AbstractContextManager[None]:
        return nullcontext() if self._kfac is None else self._kfac.around_step(self._loss_scale())

    def _loss_scale(self) -> float:
        """What the loss was multiplied with before the backward pass."""
        return 1.0

    def _clip_grad(self) -> None:
        if self._updates in self._clip_window:
            with shown(self.optimizer, self._groups):
                super()._clip_grad()

    @outside_graphs
    def _begin(self, model: nn.Module, iterations: int) -> None:
        """Start after ``iterations``, or anew: FlexibleRunner resumes after the first sight."""
        if not self._began:
            self._images.attach(model)
        self._began = True
        if self._resumed is not None:
            self._updates, self._resumed = self._resumed, None
        elif not self._updates:  # a plain wrapper's checkpoint has no counter
            self._updates = iterations // self._accumulative_counts
        if self._modulator is not None:
            self._modulator.update = self._updates = self._modulator.update or self._updates
        elif self._settings is not None:
            self._bind(model, self._settings)
        partition = None if self._modulator is None else self._modulator.partition
        if self._adaptive is not None:
            self._adaptive.bind(model, self.optimizer, self.message_hub, partition)
        if self._kfac is not None:
            self._kfac.begin(model, self._updates, self.message_hub, partition)

    def _bind(self, model: nn.Module, settings: AGVMSettings) -> None:
        counts, updates = self._accumulative_counts, self._updates
        modulator = bind(settings, model, self.optimizer, counts, updates, self._kfac)
        partition, anchor = modulator.partition, modulator.partition.index(settings.anchor)
        # Frozen parameters too, as a hook may thaw them; the anchor's factor is 1.
        module_of = {
            parameter: partition.index(name) if name in partition.names else anchor
            for parameter, name in module_names(unwrapped(model), partition).items()
        }
        self._plan = LearningRatePlan(self.optimizer, module_of, anchor)
        self._restore(modulator)
        self._modulator = modulator
        print_log(report.start(modulator, self._accumulative_counts), logger='current')

    def _restore(self, modulator: Modulator) -> None:
        if self._pending is not None:
            modulator.load_state_dict(self._pending)
            self._updates = modulator.update
            self._pending = None

    def _require_bound(self) -> tuple[Modulator, LearningRatePlan]:
        if self._modulator is None or self._plan is None:
            raise RuntimeError(
                f'{type(self).__name__} has not seen the model: run the forward pass inside '
                "`with optim_wrapper.optim_context(model)`, as MMEngine's runners do."
            )
        return self._modulator, self._plan

    def _pass_of_update(self) -> tuple[int, int]:
        """Index of the coming backward pass within its update, and how many the update has."""
        counts = self._accumulative_counts
        whole = self._max_counts - self._remainder_counts
        if self._remainder_counts > 0 and self._inner_count >= whole:
            return self._inner_count - whole, self._remainder_counts
        return self._inner_count % counts, counts

    def _publish(
        self, modulator: Modulator, plan: LearningRatePlan, estimate: VarianceEstimate | None
    ) -> None:
        scalars = report.learning_rates(modulator, plan)
        if estimate is not None:
            scalars.update(report.estimate(modulator, estimate))
            if not estimate.finite and modulator.skipped == 1:
                print_log(report.skipped(modulator), logger='current', level=logging.WARNING)
        for name, value in scalars.items():
            self.message_hub.update_scalar(f'train/agvm/{name}', value)


@OPTIM_WRAPPERS.register_module()
class AGVMOptimWrapper(AGVMMixin):
    """MMEngine's :class:`OptimWrapper` with AGVM; arguments of :class:`AGVMMixin`."""


@OPTIM_WRAPPERS.register_module()
class AGVMAmpOptimWrapper(AGVMMixin, AmpOptimWrapper):
    """MMEngine's :class:`AmpOptimWrapper` with AGVM; arguments of :class:`AGVMMixin`.

    Gradients carry the loss scale when they are measured; the estimate does not.
    """

    def _loss_scale(self) -> float:
        return float(self.loss_scaler.get_scale())


__all__ = ['AGVMAmpOptimWrapper', 'AGVMMixin', 'AGVMOptimWrapper']
