"""A few hundred small-batch updates that measure and do not modulate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

from agvm_runs.settings import BY_KFAC

from ..parts import AGVMPart
from ..statistics import VarianceEstimate
from .gradients import GradientSource
from .small_batch import agvm_keys, make_updates, small_batch_rate, wrapper_config

# Of the keys of ``agvm``: the others say when to measure and how to average, which is decided here.
KEPT = ('anchor', 'modules', 'clamp', 'eps', 'precondition')


@dataclass(frozen=True)
class Record:
    """One estimate.

    Args:
        update: optimizer updates made before it.
        estimate: of all modules.
    """

    update: int
    estimate: VarianceEstimate


def record(
    source: GradientSource, updates: int, samples: int, rate: float | None = None
) -> list[Record]:
    """Train for ``updates`` with every update an estimation step, scales not applied.

    Optimizer, its constructor and clipping are the config's; the learning rate rises over the
    first tenth and then stays.

    Args:
        source: the model and its data.
        updates: optimizer updates.
        samples: N, micro-batches of an update.
        rate: learning rate; None for :func:`.small_batch.small_batch_rate`.

    Raises:
        ValueError: the config's ``agvm.precondition`` is K-FAC.
    """
    settings = source.settings
    if rate is None:
        rate = small_batch_rate(settings, samples * source.images)
    config = {
        **wrapper_config(settings, rate),
        'accumulative_counts': samples,
        'agvm': _measuring(settings),
    }
    wrapper = build_optim_wrapper(source.model, config)
    records: list[Record] = []

    def keep(update: int, estimate: VarianceEstimate) -> None:
        if estimate.finite:
            records.append(Record(update, estimate))

    wrapper.part(AGVMPart).observers.append(keep)
    make_updates(source.model, source.next_batch, wrapper, updates, samples)
    return records


def _measuring(settings: Config) -> dict[str, Any]:
    """The config's ``agvm`` for every update to measure and none to modulate."""
    kept = {key: value for key, value in agvm_keys(settings).items() if key in KEPT}
    if kept.get('precondition') == BY_KFAC:
        raise ValueError(
            f'optim_wrapper.agvm.precondition is {BY_KFAC!r} and the prediction measures all pairs '
            'of gradients, which do not pass K-FAC; allowed is True or False, in a copy of the '
            'config.'
        )
    return {**kept, 'interval': 1, 'apply': False}
