"""The config's optimizer at another batch than the config's, and updates made with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mmengine.config import Config
from mmengine.optim import OptimWrapper
from torch.optim.lr_scheduler import LambdaLR

from ..wrappers import AGVMOptimWrapper

WARMUP = 0.1  # share of the updates in which the learning rate rises
CLIP = 5.0  # a start from random weights must not diverge; what measures comes before it
KEPT = ('constructor', 'paramwise_cfg', 'clip_grad')


def agvm_keys(settings: Config) -> dict[str, Any]:
    """The config's ``agvm``, empty where it has none."""
    given = settings.optim_wrapper.get('agvm')
    return {} if given is None else dict(given)


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


def wrapper_config(settings: Config, rate: float) -> dict[str, Any]:
    """The config's optimizer, its constructor and clipping at learning rate ``rate``; no AGVM."""
    given = settings.optim_wrapper.to_dict()
    return {
        'clip_grad': dict(max_norm=CLIP),
        **{key: given[key] for key in KEPT if given.get(key) is not None},
        'type': AGVMOptimWrapper,
        'optimizer': {**given['optimizer'], 'lr': rate},
        'agvm': None,
    }


def make_updates(
    model: Any, next_batch: Callable[[], Any], wrapper: OptimWrapper, updates: int, samples: int
) -> None:
    """Train; the learning rate rises over the first tenth and then stays.

    Args:
        model: what is trained.
        next_batch: gives the next micro-batch.
        wrapper: built for the model.
        updates: optimizer updates, at least 1.
        samples: micro-batches of an update.
    """
    schedule = LambdaLR(wrapper.optimizer, lambda u: min(1.0, (u + 1) / (WARMUP * updates)))
    wrapper.initialize_count_status(model, 0, updates * samples)
    for _ in range(updates):
        for _ in range(samples):
            model.train_step(next_batch(), wrapper)
        schedule.step()
