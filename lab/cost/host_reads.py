"""How often the host waits for a number from the device."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


@dataclass
class HostReads:
    """Reads inside a context.

    Args:
        transfers: on a GPU every operation that synchronised with it; on a CPU the calls of
            ``Tensor.cpu``, which would.
        scalars: single numbers read as Python scalars, wherever they lay; on a GPU those that
            synchronised are among the transfers.
    """

    transfers: int = 0
    scalars: int = 0


class _ScalarCounter(TorchDispatchMode):
    def __init__(self, reads: HostReads) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._reads = reads

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            self._reads.scalars += 1
        return func(*args, **(kwargs or {}))


@contextmanager
def count_host_reads(device: torch.device) -> Iterator[HostReads]:
    """Counts reads by the host; slow, for a counting run alone."""
    reads = HostReads()
    counting = _cuda_warnings(reads) if device.type == 'cuda' else _cpu_calls(reads)
    with counting, _ScalarCounter(reads):
        yield reads


@contextmanager
def _cpu_calls(reads: HostReads) -> Iterator[None]:
    plain = Tensor.cpu

    def cpu(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        reads.transfers += 1
        return plain(tensor, *args, **kwargs)

    with mock.patch.object(Tensor, 'cpu', cpu):
        yield


@contextmanager
def _cuda_warnings(reads: HostReads) -> Iterator[None]:
    """CUDA's own debug mode warns at every operation that synchronises."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        torch.cuda.set_sync_debug_mode('warn')
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode(before)
    reads.transfers = sum('synchronizing CUDA operation' in str(w.message) for w in caught)
