"""What AGVM takes from a run, and the runs in which it cannot work."""

from __future__ import annotations

import os
from collections.abc import Container, Mapping, Sequence

from torch import nn

from agvm_runs.settings import WHERE, AGVMSettings

from ..gradients import BlockPreconditioner
from ..statistics import ModulePartition
from ..statistics.partition import covers
from .part import Run

SHOWN = 6  # parts of a model in a sentence


def blocks_of(settings: AGVMSettings, run: Run) -> BlockPreconditioner | None:
    """The matrices of K-FAC in which to measure; None where nothing asks for them.

    Raises:
        ValueError: K-FAC is off.
    """
    if isinstance(settings.precondition, bool):
        return None
    part = run.bound.get(settings.precondition)
    blocks = None if part is None else part.geometry(run.partition)
    if blocks is None:
        raise ValueError(
            f'{WHERE}.precondition is {settings.precondition!r}, but K-FAC is off; set '
            'optim_wrapper.kfac=dict(...), or set precondition to True or False.'
        )
    return blocks


def require_two_samples(ranks: int, accumulation: int) -> None:
    """Refuse a run whose updates have one sample gradient.

    Raises:
        ValueError: how to have two.
    """
    if ranks * accumulation < 2:
        raise ValueError(
            'AGVM measures the variance between sample gradients, and this run has one: 1 process '
            'x optim_wrapper.accumulative_counts=1; launch at least 2 processes, set '
            'total_batch_size to at least 2 batches of train_dataloader.batch_size images '
            '(--total-batch-size of tools/train.py), set accumulative_counts to at least 2, or set '
            f'{WHERE}=None.'
        )


def require_dense(network: nn.Module, why: str, among: Container[int] | None = None) -> None:
    """Refuse sparse gradients.

    Args:
        network: with its embeddings.
        why: not, for the sentence.
        among: weights by ``id``; None for all.

    Raises:
        ValueError: names the embedding.
    """
    for name, module in network.named_modules():
        if (
            isinstance(module, (nn.Embedding, nn.EmbeddingBag))
            and module.sparse
            and (among is None or id(module.weight) in among)
        ):
            raise ValueError(
                f'{name!r} is an embedding with sparse gradients, which {why}; set sparse=False '
                'there.'
            )


def require_several(settings: AGVMSettings, partition: ModulePartition) -> None:
    """Refuse a division into one module, unless AGVM only measures it.

    Raises:
        ValueError: names the parts of the model.
    """
    (name, *others) = partition.names
    if others or (settings.anchor == name and not settings.apply):
        return
    parts = _parts(partition.parameter_names)
    example = {part.rpartition('.')[2]: [part] for part in parts[:SHOWN]}
    more = ' and so on' if len(parts) > SHOWN else ''
    raise ValueError(
        f'all trainable parameters are in one module, {name!r}, so AGVM has no other module whose '
        f'learning rate it could scale; name the parts in {WHERE}.modules, such as '
        f'{example}{more}, and one of them in {WHERE}.anchor, or set {WHERE}=None.'
    )


def _parts(names: Sequence[str]) -> list[str]:
    """Where qualified names first differ: 'a.b' and 'a.c' for 'a.b.weight' and 'a.c.weight'."""
    paths = [name.split('.') for name in names]
    shared = len(os.path.commonprefix(paths))
    return list(dict.fromkeys('.'.join(path[: shared + 1]) for path in paths))


def anchor_of(settings: AGVMSettings, partition: ModulePartition, network: nn.Module) -> str:
    """The name of the module whose scale is 1.

    Raises:
        ValueError: the settings name none of the modules.
    """
    anchor = partition.anchor(settings.anchor)
    if anchor is not None:
        return anchor
    allowed = ', '.join(repr(name) for name in partition.names)
    given = settings.modules if isinstance(settings.modules, Mapping) else {}
    ending = f'.{settings.anchor}'
    found = [name for name, _ in network.named_modules() if f'.{name}'.endswith(ending)]
    if sum(name.endswith(ending) for name in partition.names) > 1:
        why = 'is the end of several names'
    elif settings.anchor in given or (
        found
        and not any(covers(path, name) for path in found for name in partition.parameter_names)
    ):
        why = 'has no trainable parameter'
    else:
        why = 'is not a module of this model'
    raise ValueError(f'{WHERE}.anchor is {settings.anchor!r}, which {why}; allowed is {allowed}.')
