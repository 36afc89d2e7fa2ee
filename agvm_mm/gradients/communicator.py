"""The collectives that estimation needs, behind one interface with a communication-free twin."""

from __future__ import annotations

from typing import Protocol

import torch.distributed as dist
from torch import Tensor


class Communicator(Protocol):
    """Data-parallel ranks as the collectors see them."""

    @property
    def size(self) -> int:
        """Ranks that hold different data."""

    @property
    def rank(self) -> int:
        """This process among them, from 0."""

    def all_reduce_sum(self, tensor: Tensor) -> Tensor:
        """Sum of ``tensor`` over the ranks, the same on each; in place."""

    def reduce_half_to_first(self, tensor: Tensor) -> Tensor:
        """Sum of ``tensor`` over the first half of the ranks, at rank 0; in place.

        Only the ranks of :meth:`in_first_half` may call it; elsewhere than on rank 0 the result
        is undefined.
        """

    def in_first_half(self) -> bool:
        """Whether this rank is among the first ``size // 2``."""


class SingleProcess:
    """One rank: every sum is the tensor itself."""

    size = 1
    rank = 0

    def all_reduce_sum(self, tensor: Tensor) -> Tensor:
        """See :class:`Communicator`."""
        return tensor

    def reduce_half_to_first(self, tensor: Tensor) -> Tensor:
        """See :class:`Communicator`."""
        return tensor

    def in_first_half(self) -> bool:
        """See :class:`Communicator`."""
        return False


class ProcessGroupCommunicator:
    """The ranks of a torch process group, usually that of the DDP wrapper.

    Must be made on all ranks at the same point: it opens a second group.

    Args:
        group: the data-parallel group.
        halves: open the group of the first half, which ``half_split`` needs.
    """

    def __init__(self, group: dist.ProcessGroup, halves: bool = False) -> None:
        self._group = group
        self.size = dist.get_world_size(group)
        self.rank = dist.get_rank(group)
        ranks = dist.get_process_group_ranks(group)
        self._first = ranks[0]
        # A half of one rank is its own sum and needs no group.
        self._half = dist.new_group(ranks[: self.size // 2]) if halves and self.size > 3 else None

    def all_reduce_sum(self, tensor: Tensor) -> Tensor:
        """See :class:`Communicator`."""
        dist.all_reduce(tensor, group=self._group)
        return tensor

    def reduce_half_to_first(self, tensor: Tensor) -> Tensor:
        """See :class:`Communicator`."""
        if self._half is not None:
            dist.reduce(tensor, dst=self._first, group=self._half)
        return tensor

    def in_first_half(self) -> bool:
        """See :class:`Communicator`."""
        return self.rank < self.size // 2
