"""From the model that MMEngine hands over to the modulator of its parameters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch.distributed as dist
from mmengine.model import is_model_wrapper
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from ..distributed import Communicator, ProcessGroupCommunicator, SingleProcess
from ..gradients import build_collector
from ..statistics import ModulePartition, partition_parameters
from ..statistics.partition import default_module
from .kfac_blocks import KFACBlocks
from .modulator import Modulator
from .precondition import build_preconditioner
from .settings import BY_KFAC, WHERE, AGVMSettings

if TYPE_CHECKING:
    from .kfac import KFACPart


def bind(
    settings: AGVMSettings,
    model: nn.Module,
    optimizer: Optimizer,
    accumulative_counts: int,
    updates: int,
    kfac: KFACPart | None,
) -> Modulator:
    """The modulator of ``model``; every refusal of a set-up happens here, before training.

    Args:
        settings: the checked ``agvm`` keys.
        model: the model as the runner holds it, in its data-parallel wrapper or bare.
        optimizer: the optimizer that trains it.
        accumulative_counts: micro-batches in one update.
        updates: optimizer updates already made.
        kfac: the second-order part, which sees the model later.

    Raises:
        ValueError: the set-up can't work; the sentence says why and where to change it.
    """
    network, group = unwrapped(model), data_parallel(model, 'AGVM', WHERE)
    halves = settings.estimator == 'half_split'
    communicator: Communicator = (
        SingleProcess() if group is None else ProcessGroupCommunicator(group, halves)
    )
    _require_two_samples(communicator.size, accumulative_counts)
    _require_dense(network)
    partition = partition_parameters(network, settings.modules)
    _require_anchor(settings, partition, network)
    require_optimized(zip(partition.parameter_names, partition.parameters), optimizer, 'AGVM')
    diagonal = build_preconditioner(optimizer) if settings.precondition is True else None
    blocks = _kfac_blocks(kfac, partition) if settings.precondition == BY_KFAC else None
    collector = build_collector(settings.estimator, partition, communicator, diagonal, blocks)
    return Modulator(settings, partition, collector, updates)


def _kfac_blocks(kfac: KFACPart | None, partition: ModulePartition) -> KFACBlocks:
    if kfac is None:
        raise ValueError(
            f'{WHERE}.precondition is {BY_KFAC!r} and there is no K-FAC; allowed is that with '
            'optim_wrapper.kfac=dict(...), or else True or False.'
        )
    return KFACBlocks(lambda: kfac.kfac, partition)


def module_names(network: nn.Module, partition: ModulePartition | None) -> dict[int, str]:
    """Module of every parameter, frozen ones too, by ``id(parameter)``.

    Args:
        network: the bare network.
        partition: AGVM's modules; a parameter outside of them, and every one with None, is in its
            top-level child.
    """
    names = {id(p): default_module(name) for name, p in network.named_parameters()}
    if partition is not None:
        owners = [partition.names[index] for index in partition.module_of.tolist()]
        names.update((id(p), owner) for p, owner in zip(partition.parameters, owners))
    return names


def unwrapped(model: nn.Module) -> nn.Module:
    """The network inside a data-parallel wrapper and inside ``torch.compile``."""
    inner = _uncompiled(model)
    return _uncompiled(inner.module) if is_model_wrapper(inner) else inner  # type: ignore[arg-type]


def _uncompiled(model: nn.Module) -> nn.Module:
    original: nn.Module = getattr(model, '_orig_mod', model)
    return original


def data_parallel(model: nn.Module, method: str, where: str) -> dist.ProcessGroup | None:
    """The data-parallel ranks of ``model``; None for a single process.

    Args:
        model: as the runner holds it.
        method: name of the method that asks, for the sentence of a refusal.
        where: the config's key that None switches it off at.

    Raises:
        ValueError: the model is spread over processes in another way.
    """
    wrapper, network = _uncompiled(model), unwrapped(model)
    if not _is_wrapper(wrapper):
        _require_whole(network, method, where)
        _require_one_process(method, where)
        return None
    ddp = _require_ddp(wrapper, method, where)
    _require_whole(network, method, where)
    group: dist.ProcessGroup = ddp.process_group
    return group


def _require_ddp(wrapper: nn.Module, method: str, where: str) -> DistributedDataParallel:
    kind = type(wrapper).__name__
    if not isinstance(wrapper, DistributedDataParallel) or not hasattr(wrapper, 'reducer'):
        raise ValueError(
            f'the model is wrapped in {kind}, {_why_not(wrapper)}; {method} works with '
            "MMDistributedDataParallel (model_wrapper_cfg.type, or strategy.type='DDPStrategy'), "
            f'or set {where}=None.'
        )
    if getattr(wrapper, 'mixed_precision', None) is not None:
        raise ValueError(
            f'{kind} was given mixed_precision, which trains on casted copies of the parameters; '
            'use AGVMAmpOptimWrapper for mixed precision instead.'
        )
    return wrapper


def _is_wrapper(model: nn.Module) -> bool:
    # MMEngine registers its own child of torch's FullyShardedDataParallel only.
    return is_model_wrapper(model) or 'FullyShardedDataParallel' in _base_names(model)


def _base_names(model: nn.Module) -> list[str]:
    return [kind.__name__ for kind in type(model).__mro__]


# By the name of a class among the wrapper's bases.
_WHY_NOT = {
    'FullyShardedDataParallel': 'which leaves every rank a shard of the mean gradient',
    'DataParallel': 'which adds up the gradients of its replicas before they can be measured',
    'MMSeparateDistributedDataParallel': 'which wraps every child alone, for several optimizers',
}


def _why_not(wrapper: nn.Module) -> str:
    bases = _base_names(wrapper)
    known = (why for name, why in _WHY_NOT.items() if name in bases)
    return next(known, 'whose way to average gradients is not known')


def _require_one_process(method: str, where: str) -> None:
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        raise ValueError(
            f'{dist.get_world_size()} processes train this model and it is in no data-parallel '
            f'wrapper, so {method} cannot tell how its gradients are averaged; set '
            f"model_wrapper_cfg.type='MMDistributedDataParallel', or set {where}=None."
        )


def _require_whole(network: nn.Module, method: str, where: str) -> None:
    """Refuse a network whose parts or parameters are spread over ranks by themselves."""
    for name, module in network.named_modules():
        if _is_wrapper(module):
            raise ValueError(
                f'{name!r} is wrapped in {type(module).__name__} by itself; {method} works with '
                'one MMDistributedDataParallel round the whole model (model_wrapper_cfg.type).'
            )
    for name, parameter in network.named_parameters():
        if hasattr(parameter, 'placements'):  # asked without importing DTensor, which is slow
            raise ValueError(
                f'the parameter {name!r} is a DTensor, as fully_shard and tensor parallelism make '
                'them, and a rank holds no more than a shard of its gradient; use '
                f'MMDistributedDataParallel instead, or set {where}=None.'
            )


def _require_two_samples(ranks: int, accumulative_counts: int) -> None:
    if ranks * accumulative_counts < 2:
        raise ValueError(
            'AGVM measures the variance between sample gradients and this run has one: 1 process x '
            'optim_wrapper.accumulative_counts=1; launch at least 2 processes, set '
            f'accumulative_counts to at least 2, or set {WHERE}=None.'
        )


def _require_dense(network: nn.Module) -> None:
    for name, module in network.named_modules():
        if getattr(module, 'sparse', False) is True and isinstance(
            module, (nn.Embedding, nn.EmbeddingBag)
        ):
            raise ValueError(
                f'{name!r} is an embedding with sparse gradients, which AGVM cannot measure; '
                'set sparse=False there.'
            )


def _require_anchor(settings: AGVMSettings, partition: ModulePartition, network: nn.Module) -> None:
    if settings.anchor in partition.names:
        return
    allowed = ', '.join(repr(name) for name in partition.names)
    frozen = settings.anchor in dict(network.named_modules()) or settings.anchor in (
        settings.modules or ()
    )
    why = 'has no trainable parameter' if frozen else 'is not a module of this model'
    raise ValueError(f'{WHERE}.anchor is {settings.anchor!r}, which {why}; allowed is {allowed}.')


def require_optimized(
    trainable: Iterable[tuple[str, nn.Parameter]], optimizer: Optimizer, method: str
) -> None:
    """Refuse a trainable parameter that ``optimizer`` does not hold.

    Raises:
        ValueError: names it.
    """
    optimized = {id(p) for group in optimizer.param_groups for p in group['params']}
    for name, parameter in trainable:
        if id(parameter) not in optimized:
            raise ValueError(
                f'the trainable parameter {name!r} is not in the optimizer '
                f'{type(optimizer).__name__}; {method} needs one optimizer for the whole model: '
                'freeze the parameter or mend optim_wrapper.constructor.'
            )


class ImageCounter:
    """Counts the images that pass a model's data preprocessor, as a forward hook on it.

    A model that is evaluated is not counted. Copies and pickles of the model carry an empty
    counter, never this run's state.
    """

    def __init__(self) -> None:
        self._images = 0

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """Count the images of one batch as the preprocessor received it."""
        if not module.training:  # a validation between two updates
            return
        data = args[0] if args else None
        inputs = data.get('inputs') if isinstance(data, dict) else data
        if isinstance(inputs, (Sequence, Tensor)):
            self._images += len(inputs)

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return ImageCounter, ()

    def take(self) -> int:
        """Images since the last call."""
        images, self._images = self._images, 0
        return images

    def attach(self, model: nn.Module) -> None:
        """Watch ``model``'s data preprocessor, if it has one."""
        preprocessor = getattr(unwrapped(model), 'data_preprocessor', None)
        if isinstance(preprocessor, nn.Module):
            preprocessor.register_forward_hook(self)
