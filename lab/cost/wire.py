"""Bytes and calls, counted where they are handed to a collective."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch.distributed as dist
from torch import Tensor
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

# Where each collective takes what this rank hands over.
_PAYLOAD = {'all_reduce': 0, 'reduce': 0, 'broadcast': 0, 'all_gather': 1}


@dataclass
class Traffic:
    """What one rank handed over."""

    calls: int = 0
    bytes: int = 0

    def add(self, tensor: Tensor) -> None:
        """Count one call."""
        self.calls += 1
        self.bytes += tensor.numel() * tensor.element_size()


def reduce_in_python(model: DistributedDataParallel) -> None:
    """Let ``model`` reduce its buckets by Python's ``all_reduce``, where they can be counted.

    The buckets are those of DDP's own reduction, which never passes through Python. For the
    counting run alone: a hook in Python takes time.
    """
    model.register_comm_hook(dist.group.WORLD, allreduce_hook)


@contextmanager
def count_traffic() -> Iterator[Traffic]:
    """Counts this rank's collectives inside the context."""
    traffic = Traffic()
    with ExitStack() as patches:
        for name, payload in _PAYLOAD.items():
            counting = _counted(getattr(dist, name), payload, traffic)
            patches.enter_context(mock.patch.object(dist, name, counting))
        yield traffic


def _counted(function: Callable[..., Any], payload: int, traffic: Traffic) -> Callable[..., Any]:
    def counting(*args: Any, **kwargs: Any) -> Any:
        traffic.add(args[payload] if len(args) > payload else kwargs['tensor'])
        return function(*args, **kwargs)

    return counting
