"""What every way of collecting moments has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn

from ..distributed import Communicator
from ..statistics import ModulePartition, VarianceEstimate

Preconditioner = Callable[[nn.Parameter], Tensor | None]
"""Diagonal D of the optimizer for a parameter, same shape; None before it is known."""


class BlockPreconditioner(Protocol):
    """A preconditioner that takes several parameters at once, each block on one rank."""

    def blocks(self) -> Sequence[Sequence[int]]:
        """This rank's blocks: positions of their parameters in the partition."""

    def apply(self, block: int, gradients: Sequence[Tensor]) -> Tensor | None:
        """P g of one of :meth:`blocks`, in any shape; None before P is known."""


class Collector(ABC):
    """Sees the backward passes of one optimizer update and returns one estimate.

    A collector reads gradients and never writes them: what the optimizer receives is bit for bit
    what it would have been.

    Args:
        partition: the parameters to watch.
        communicator: the data-parallel ranks.
        preconditioner: measure D g instead of g. A parameter whose D is unknown stays out of the
            estimate on all ranks.
    """

    def __init__(
        self,
        partition: ModulePartition,
        communicator: Communicator,
        preconditioner: Preconditioner | None = None,
    ) -> None:
        self.partition = partition
        self.communicator = communicator
        self.preconditioner = preconditioner
        self.device = partition.parameters[0].device
        self._passes = 0
        self._count = 0
        self._images = 0

    @contextmanager
    def capture(self, index: int, count: int, images: int) -> Iterator[None]:
        """Around backward pass ``index`` of the ``count`` that make up this update.

        The gradient of each pass is 1/``count`` of a sample gradient, over ``images`` images.
        """
        if index == 0:
            self._passes, self._count, self._images = 0, count, 0
            self.start()
        elif index != self._passes:  # resumed in mid-update: earlier passes are lost
            yield
            return
        with self.watch(index, count):
            yield
        self._passes += 1
        self._images += images

    @torch.no_grad()
    def reduce(self, loss_scale: float = 1.0) -> VarianceEstimate | None:
        """The estimate of this update, the same on every rank.

        Called once after the last backward pass, before anything alters the gradients. One
        collective over a float64 vector, after those of :meth:`local_sums` if any; one transfer
        to the host.

        Args:
            loss_scale: what the loss was multiplied with for mixed precision.

        Returns:
            None when passes were missed, as in the first update after a resume in mid-update.
        """
        complete = self._passes == self._count and self._count > 0
        passes, self._passes, self._count = self._passes, 0, 0
        if not complete:
            return None
        sums = self.local_sums(passes)
        counts = torch.tensor([passes, self._images], dtype=torch.float64, device=self.device)
        vector = self.communicator.all_reduce_sum(torch.cat([*sums, counts])).cpu()
        *parts, counts = vector.split([len(self.partition)] * len(sums) + [2])
        samples, images = (int(n) for n in counts)
        return self.estimate([part / loss_scale**2 for part in parts], samples, images)

    def gradients(self) -> list[Tensor | None]:
        """The mean gradients as the optimizer will see them, before clipping."""
        return [parameter.grad for parameter in self.partition.parameters]

    def preconditioned(self, index: int, gradient: Tensor) -> Tensor | None:
        """D g for parameter ``index``; g itself without a preconditioner."""
        if self.preconditioner is None:
            return gradient
        diagonal = self.preconditioner(self.partition.parameters[index])
        return None if diagonal is None else gradient * diagonal

    @abstractmethod
    def start(self) -> None:
        """Forget the last update."""

    @abstractmethod
    def watch(self, index: int, count: int) -> AbstractContextManager[None]:
        """Context manager round one backward pass."""

    @abstractmethod
    def local_sums(self, passes: int) -> list[Tensor]:
        """What this rank adds to the collective: tensors (M,), float64."""

    @abstractmethod
    def estimate(self, sums: list[Tensor], samples: int, images: int) -> VarianceEstimate:
        """The estimate from the sums over all ranks."""
