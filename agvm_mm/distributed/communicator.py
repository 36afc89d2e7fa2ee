"""The collectives of all methods, behind one interface with a communication-free twin."""

from __future__ import annotations

from typing import Protocol

import torch.distributed as dist
from torch import Tensor

from .. import compat


class Pending(Protocol):
    """A collective under way."""

    def wait(self) -> object:
        """Return once its tensor may be used."""


class Communicator(Protocol):
    """Data-parallel ranks as collectors and preconditioners see them."""

    @property
    def size(self) -> int:
        """Ranks that hold different data."""

    @property
    def rank(self) -> int:
        """This process among them, from 0."""

    @property
    def concurrent(self) -> bool:
        """Whether its collectives may run beside those of other groups in any order."""

    def all_reduce_sum(self, tensor: Tensor) -> Tensor:
        """Sum of ``tensor`` over the ranks, the same on each; in place."""

    def all_reduce_max(self, tensor: Tensor) -> Tensor:
        """Largest value of every element over the ranks, the same on each; in place."""

    def start_reduce(self, tensor: Tensor, rank: int) -> Pending:
        """Begin to sum ``tensor`` to ``rank``, in place; undefined on the other ranks."""

    def start_broadcast(self, tensor: Tensor, rank: int) -> Pending:
        """Begin to copy ``tensor`` of ``rank`` to all ranks, in place."""

    def reduce_half_to_first(self, tensor: Tensor) -> Tensor:
        """Sum of ``tensor`` over the first half of the ranks, at rank 0; in place.

        Only the ranks of :meth:`in_first_half` may call it; elsewhere than on rank 0 the result
        is undefined.
        """

    def in_first_half(self) -> bool:
        """Whether this rank is among the first ``size // 2``."""


class _Done:
    """A collective of one rank."""

    def wait(self) -> None:
        """Return at once."""


class SingleProcess:
    """One rank: every sum is the tensor itself."""

    size = 1
    rank = 0
    concurrent = True

    def all_reduce_sum(self, tensor: Tensor) -> Tensor:
        """The tensor itself."""
        return tensor

    def all_reduce_max(self, tensor: Tensor) -> Tensor:
        """The tensor itself."""
        return tensor

    def start_reduce(self, tensor: Tensor, rank: int) -> Pending:
        """Nothing to move."""
        return _Done()

    def start_broadcast(self, tensor: Tensor, rank: int) -> Pending:
        """Nothing to move."""
        return _Done()

    def reduce_half_to_first(self, tensor: Tensor) -> Tensor:
        """The tensor itself."""
        return tensor

    def in_first_half(self) -> bool:
        """False, because half of one rank is none."""
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
        self.concurrent = compat.overlaps(group)
        ranks = dist.get_process_group_ranks(group)
        self._ranks = ranks
        # A half of one rank is its own sum and needs no group.
        self._half = self._new_half() if halves and self.size > 3 else None

    def beside(self) -> ProcessGroupCommunicator:
        """The same ranks, with a group of their own where collectives of groups may overlap.

        Where they may not, a second group would only take memory. Called on all ranks.
        """
        group = self._new_group(self._ranks) if self.concurrent else self._group
        return ProcessGroupCommunicator(group)

    def all_reduce_sum(self, tensor: Tensor) -> Tensor:
        """Sum over the group, in place."""
        dist.all_reduce(tensor, group=self._group)
        return tensor

    def all_reduce_max(self, tensor: Tensor) -> Tensor:
        """Largest values over the group, in place."""
        dist.all_reduce(tensor, dist.ReduceOp.MAX, group=self._group)
        return tensor

    def start_reduce(self, tensor: Tensor, rank: int) -> Pending:
        """Begin to sum to a rank of the group, in place."""
        work: Pending = dist.reduce(tensor, dst=self._ranks[rank], group=self._group, async_op=True)
        return work

    def start_broadcast(self, tensor: Tensor, rank: int) -> Pending:
        """Begin to copy a rank's tensor to the group, in place."""
        work: Pending = dist.broadcast(
            tensor, src=self._ranks[rank], group=self._group, async_op=True
        )
        return work

    def reduce_half_to_first(self, tensor: Tensor) -> Tensor:
        """Sum over the group of the first half, in place at its first rank."""
        if self._half is not None:
            dist.reduce(tensor, dst=self._ranks[0], group=self._half)
        return tensor

    def in_first_half(self) -> bool:
        """Whether this rank is in the smaller or equal first half."""
        return self.rank < self.size // 2

    @property
    def _is_world(self) -> bool:
        """Whether every process is one of these ranks."""
        return self.size == dist.get_world_size()

    def _new_half(self) -> dist.ProcessGroup:
        """A group of the first half; elsewhere than in the world one of each rank's own half.

        There torch names a group by the number of those that a rank is in, which must stay equal.
        """
        first, second = self._ranks[: self.size // 2], self._ranks[self.size // 2 :]
        return self._new_group(first if self._is_world or self.in_first_half() else second)

    def _new_group(self, ranks: list[int]) -> dist.ProcessGroup:
        """A group that waits as long as the data-parallel one, as ``dist_cfg.timeout`` says.

        Processes outside of the data-parallel group do not call this, and are not waited for.
        """
        timeout, alone = compat.group_timeout(self._group), not self._is_world
        group: dist.ProcessGroup = dist.new_group(
            ranks, timeout=timeout, use_local_synchronization=alone
        )
        return group
