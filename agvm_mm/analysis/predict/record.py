"""A few hundred small-batch updates that measure and do not modulate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from torch.optim.lr_scheduler import LambdaLR

from ...optim import AGVMOptimWrapper
from ...optim.lr_plan import LearningRatePlan
from ...optim.modulator import Modulator
from ...statistics import VarianceEstimate
from ..quality.gradients import GradientSource

# Of the keys of ``agvm``: the others say when to measure and how to average, which is decided here.
KEPT = ('anchor', 'modules', 'clamp', 'eps', 'precondition')
WARMUP = 0.1  # share of the updates in which the learning rate rises
CLIP = 5.0  # a start from random weights must not diverge; the measurement is taken before it


@dataclass(frozen=True)
class Record:
    """One estimate.

    Args:
        update: optimizer updates made before it.
        estimate: of all modules.
    """

    update: int
    estimate: VarianceEstimate


class RecordingOptimWrapper(AGVMOptimWrapper):
    """Keeps every estimate as it was measured instead of logging averages."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.records: list[Record] = []

    def _publish(
        self, modulator: Modulator, plan: LearningRatePlan, estimate: VarianceEstimate | None
    ) -> None:
        if estimate is not None and estimate.finite:
            self.records.append(Record(modulator.update, estimate))


def small_batch_rate(settings: Config, batch: int) -> float:
    """The config's learning rate, scaled down linearly to ``batch`` and never up.

    The config's batch is ``total_batch_size``, else ``auto_scale_lr.base_batch_size``, else that
    of one process.
    """
    scaling = settings.get('auto_scale_lr') or {}
    written = float(
        settings.get('total_batch_size')
        or scaling.get('base_batch_size')
        or settings.train_dataloader.batch_size
    )
    return float(settings.optim_wrapper.optimizer.lr) * min(1.0, batch / written)


def record(
    source: GradientSource, updates: int, samples: int, rate: float | None = None
) -> list[Record]:
    """Train for ``updates`` with every update an estimation step, factors not applied.

    Optimizer, its constructor and clipping are the config's; the learning rate rises over the
    first tenth and then stays.

    Args:
        source: the model and its data.
        updates: optimizer updates.
        samples: N, micro-batches of an update.
        rate: learning rate; None for :func:`small_batch_rate`.
    """
    settings = source.settings
    if rate is None:
        rate = small_batch_rate(settings, samples * source.images)
    wrapper: RecordingOptimWrapper = build_optim_wrapper(
        source.model, _wrapper_config(settings, samples, rate)
    )
    schedule = LambdaLR(wrapper.optimizer, lambda u: min(1.0, (u + 1) / (WARMUP * updates)))
    wrapper.initialize_count_status(source.model, 0, updates * samples)
    for _ in range(updates):
        for _ in range(samples):
            source.model.train_step(source.next_batch(), wrapper)
        schedule.step()
    return wrapper.records


def _wrapper_config(settings: Config, samples: int, rate: float) -> dict[str, Any]:
    given = settings.optim_wrapper.to_dict()
    keys = ('constructor', 'paramwise_cfg', 'clip_grad')
    return {
        'clip_grad': dict(max_norm=CLIP),
        **{key: given[key] for key in keys if given.get(key) is not None},
        'type': RecordingOptimWrapper,
        'optimizer': {**given['optimizer'], 'lr': rate},
        'accumulative_counts': samples,
        'agvm': {
            **{key: value for key, value in agvm_keys(settings).items() if key in KEPT},
            'interval': 1,
            'apply': False,
        },
    }


def agvm_keys(settings: Config) -> dict[str, Any]:
    """The config's ``agvm``, empty where it has none."""
    given = settings.optim_wrapper.get('agvm')
    return {} if given is None else dict(given)
