"""Binds parts to a model: unwraps it once for all parts and refuses what cannot work."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim import Optimizer

from ..compat import is_model_wrapper
from ..gradients import shard_group
from ..parts import Log, Part, Run
from ..statistics import ModulePartition, default_partition


def bind(
    parts: Sequence[Part],
    model: nn.Module,
    optimizer: Optimizer,
    accumulation: int,
    place: Callable[[], tuple[int, int]],
    log: Log,
) -> None:
    """Bind ``parts``, in their order, to the network inside ``model``.

    Args:
        parts: of one wrapper.
        model: as the runner holds it, in its data-parallel wrapper or bare.
        optimizer: the optimizer that trains it.
        accumulation: backward passes in one update.
        place: see :class:`Run`.
        log: where the parts report.

    Raises:
        ValueError: the set-up cannot work; the sentence says why and where to change it.
    """
    network, group = unwrapped(model), None
    for part in parts:
        if part.needs_ranks:
            group = data_parallel(model, part, accumulation)
            _require_optimized(network, optimizer, part)
        elif part.needs_model:
            _require_whole(model, part)
    partition = _partition(parts, network)
    bound: dict[str, Part] = {}
    run = Run(model, network, optimizer, group, partition, accumulation, place, log, bound)
    for part in parts:
        part.bind(run)
        bound[part.key] = part


def unwrapped(model: nn.Module) -> nn.Module:
    """The network inside a data-parallel wrapper and inside ``torch.compile``."""
    inner = uncompiled(model)
    return uncompiled(inner.module) if _is_wrapper(inner) else inner  # type: ignore[arg-type]


def uncompiled(model: nn.Module) -> nn.Module:
    """The model inside ``torch.compile``."""
    original: nn.Module = getattr(model, '_orig_mod', model)
    return original


def is_compiled(model: nn.Module) -> bool:
    """Whether ``torch.compile`` or ``compile()`` was called for any part of the model."""
    return any(
        hasattr(module, '_orig_mod') or getattr(module, '_compiled_call_impl', None) is not None
        for module in (model, *model.modules())
    )


def require_no_join(model: nn.Module) -> None:
    """Refuse DDP's ``join()``, whose ranks end at different times.

    Raises:
        RuntimeError: says what to do instead.
    """
    config = getattr(uncompiled(model), '_join_config', None)
    if config is not None and config.enable:
        raise RuntimeError(
            'the backward pass is inside of join(), where ranks end at different times, and what '
            'is measured needs all of them in every update; leave join() out and give all ranks '
            'the same number of batches, as DistributedSampler does.'
        )


def data_parallel(model: nn.Module, part: Part, accumulation: int) -> dist.ProcessGroup | None:
    """The data-parallel ranks of ``model``; None for a single process.

    Args:
        model: as the trainer holds it.
        part: the part that asks, for the sentence of a refusal.
        accumulation: backward passes in one update.

    Raises:
        ValueError: the model is spread over processes in another way.
    """
    wrapper = uncompiled(model)
    if not _is_wrapper(wrapper):
        shards = shard_group(wrapper)
        if shards is not None and part.works_sharded:
            return shards
        _require_whole(model, part)
        _require_one_process(part)
        return None
    group: dist.ProcessGroup = _require_ddp(wrapper, part, accumulation).process_group
    _require_whole(model, part)
    return group


def _partition(parts: Sequence[Part], network: nn.Module) -> ModulePartition:
    chosen = (part.divide(network) for part in parts)
    return next((found for found in chosen if found is not None), None) or default_partition(
        network
    )


def _require_ddp(wrapper: nn.Module, part: Part, accumulation: int) -> DistributedDataParallel:
    if not isinstance(wrapper, DistributedDataParallel) or not hasattr(wrapper, 'reducer'):
        raise _wrong_wrapper(wrapper, part)
    if getattr(wrapper, 'mixed_precision', None) is not None:
        raise ValueError(
            f'{type(wrapper).__name__} was given mixed_precision, which trains on cast copies of '
            'the parameters; use AGVMAmpOptimWrapper or PartsAmpOptimWrapper instead.'
        )
    if accumulation > 1 and wrapper.static_graph:
        raise ValueError(
            'the data-parallel wrapper has static_graph=True and optim_wrapper.accumulative_counts '
            f'is {accumulation}, and torch fails on the first update that a rank accumulates; set '
            'static_graph=False (find_unused_parameters=True for parameters without gradient), or '
            'accumulative_counts=1.'
        )
    return wrapper


def _wrong_wrapper(wrapper: nn.Module, part: Part) -> ValueError:
    return ValueError(
        f'the model is wrapped in {type(wrapper).__name__}, {_why_not(wrapper)}; {part.title} '
        'works with MMDistributedDataParallel (model_wrapper_cfg.type, or '
        f"strategy.type='DDPStrategy'); use it, or set {part.where}=None."
    )


def _is_wrapper(model: nn.Module) -> bool:
    known = isinstance(model, (DataParallel, DistributedDataParallel)) or is_model_wrapper(model)
    # MMEngine registers its own child of torch's FullyShardedDataParallel only.
    return known or 'FullyShardedDataParallel' in _base_names(model)


def _base_names(model: nn.Module) -> list[str]:
    return [kind.__name__ for kind in type(model).__mro__]


# By the name of a class among the wrapper's bases.
_WHY_NOT = {
    'FullyShardedDataParallel': 'which leaves every rank a shard of the mean gradient',
    'DataParallel': 'which adds up the gradients of its replicas before they can be measured',
    'MMSeparateDistributedDataParallel': (
        'which wraps every child separately, for several optimizers'
    ),
}


def _why_not(wrapper: nn.Module) -> str:
    bases = _base_names(wrapper)
    known = (why for name, why in _WHY_NOT.items() if name in bases)
    return next(known, 'and it is not known how that averages gradients')


def _require_one_process(part: Part) -> None:
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        raise ValueError(
            f'{dist.get_world_size()} processes train this model without a data-parallel wrapper, '
            f'so {part.title} cannot tell how its gradients are averaged; set '
            f"model_wrapper_cfg.type='MMDistributedDataParallel', or set {part.where}=None."
        )


def _require_whole(model: nn.Module, part: Part) -> None:
    """Refuse a network whose children or parameters are distributed separately."""
    wrapper, network = uncompiled(model), unwrapped(model)
    if 'FullyShardedDataParallel' in _base_names(wrapper):
        raise _wrong_wrapper(wrapper, part)
    for name, module in network.named_modules():
        if _is_wrapper(module):
            raise ValueError(
                f'{name!r} has its own {type(module).__name__}; {part.title} works with one '
                'MMDistributedDataParallel around the whole model (model_wrapper_cfg.type).'
            )
    for name, parameter in network.named_parameters():
        if hasattr(parameter, 'placements'):  # asked without importing DTensor, which is slow
            raise ValueError(
                f'the parameter {name!r} is a DTensor, which fully_shard and tensor parallelism '
                'make, and a rank has only a shard of its gradient; use '
                f'MMDistributedDataParallel instead, or set {part.where}=None (fully_shard alone '
                "works with AGVM's all_pairs without precondition)."
            )


def _require_optimized(network: nn.Module, optimizer: Optimizer, part: Part) -> None:
    """Refuse a trainable parameter that ``optimizer`` does not hold."""
    optimized = {id(p) for group in optimizer.param_groups for p in group['params']}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad and id(parameter) not in optimized:
            raise ValueError(
                f'the trainable parameter {name!r} is not in the optimizer '
                f'{type(optimizer).__name__}; {part.title} needs one optimizer for the whole '
                'model: freeze the parameter or correct optim_wrapper.constructor.'
            )
