"""The base class of all collectors: one estimate from the backward passes of one update."""

from __future__ import annotations

import math
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


LossScale = Callable[[], float | Tensor]
"""Returns the multiplier of the loss in mixed precision."""


class BlockPreconditioner(Protocol):
    """A preconditioner of blocks of several parameters, each block on one rank."""

    def blocks(self) -> Sequence[Sequence[int]]:
        """This rank's blocks: positions of their parameters in the partition."""

    def apply(self, block: int, gradients: Sequence[Tensor]) -> Tensor | None:
        """P g of one of :meth:`blocks`, in any shape; None before P is known."""


class Collector(ABC):
    """Sees the backward passes of one optimizer update and returns one estimate.

    A collector reads gradients and never writes them, so the optimizer receives the same gradients,
    bit for bit.

    Args:
        partition: the parameters to watch.
        communicator: the data-parallel ranks.
        preconditioner: measure D g instead of g. A parameter whose D is unknown is not part of the
            estimate on any rank.
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
        self._inverse_images = 0.0

    @contextmanager
    def around_backward(self, index: int, count: int, images: int) -> Iterator[None]:
        """Context manager around backward pass ``index`` of the ``count`` of this update.

        The gradient of each pass is 1/``count`` of a sample gradient, over ``images`` images.

        Raises:
            RuntimeError: there are gradients before the first pass.
        """
        if index == 0:
            self._require_cleared()
            self._passes, self._count, self._inverse_images = 0, count, 0.0
            self._begin()
        elif index != self._passes:  # resumed inside an update: earlier passes are lost
            yield
            return
        with self._around_pass(index, count):
            yield
        self._passes += 1
        self._inverse_images += self._weight(index, count) / images if images else math.inf

    @torch.no_grad()
    def estimate(self, loss_scale: LossScale = lambda: 1.0) -> VarianceEstimate | None:
        """The estimate of this update, the same on every rank.

        Call it once after the last backward pass, before anything changes the gradients. It takes
        one collective over a float64 vector, after those of :meth:`_local_sums`, and one transfer
        to the host.

        Args:
            loss_scale: called after the local sums.

        Returns:
            None when any rank has missed a pass, as in the first update after a resume inside an
            update.
        """
        complete = self._passes == self._count and self._count > 0
        passes, self._passes, self._count = self._passes, 0, 0
        if not complete:
            if self.communicator.size == 1:
                return None
            self._begin()  # other ranks may have missed none, and wait for this one
        sums = self._local_sums(passes)
        seen = passes if complete else math.nan
        # From the host without waiting, which torch.tensor(..., device=) would do.
        counts = torch.tensor([seen, self._inverse_images], dtype=torch.float64)
        counts = counts.to(self.device, non_blocking=True)
        scale = loss_scale()
        vector = torch.cat([torch.cat(sums) / scale / scale, counts])
        vector = self.communicator.all_reduce_sum(vector).cpu()
        *parts, counts = vector.split([len(self.partition)] * len(sums) + [2])
        if counts[0].isnan():
            return None
        samples, inverse = int(counts[0]), float(counts[1])
        images = 0.0 if math.isinf(inverse) else samples**2 / inverse
        return self._estimate(list(parts), samples, images)

    def gradients(self) -> list[Tensor | None]:
        """The mean gradients as the optimizer will see them, before clipping."""
        return [parameter.grad for parameter in self.partition.parameters]

    def _weight(self, index: int, count: int) -> float:
        r"""Weight :math:`w_k` of sample gradient ``index`` in the images of the estimate.

        A sample gradient over :math:`b_k` images has the noise :math:`v / b_k`, so that unequal
        ones count as a batch of

        .. math:: b = N^2 / \sum_k \frac{w_k}{b_k}
        """
        return 1.0

    def _require_cleared(self) -> None:
        """Refuse gradients of passes that were not measured as part of this update."""
        left = [gradient.any() for gradient in self.gradients() if gradient is not None]
        if left and bool(torch.stack(left).any()):
            raise RuntimeError(
                'the parameters already hold gradients before the first backward pass of an '
                'update, and AGVM cannot distinguish them from those of the update: set '
                'optim_wrapper.accumulative_counts to the number of backward passes of an update '
                'and call update_params for each, or clear the gradients with zero_grad().'
            )

    def _require_no_later_change(self) -> None:
        """Refuse hooks that may change a gradient after it was measured."""
        for name, parameter in zip(self.partition.parameter_names, self.partition.parameters):
            if getattr(parameter, '_post_accumulate_grad_hooks', None):
                raise RuntimeError(
                    f'{name!r} has a hook of register_post_accumulate_grad_hook, which may change '
                    'the gradient after AGVM has measured it: use register_hook instead, or set '
                    'optim_wrapper.agvm=None.'
                )

    def preconditioned(self, index: int, gradient: Tensor) -> Tensor | None:
        """D g of parameter ``index``, or g without a preconditioner."""
        if self.preconditioner is None:
            return gradient
        diagonal = self.preconditioner(self.partition.parameters[index])
        return None if diagonal is None else gradient * diagonal

    @abstractmethod
    def _begin(self) -> None:
        """Forget the last update."""

    @abstractmethod
    def _around_pass(self, index: int, count: int) -> AbstractContextManager[None]:
        """Context manager around one backward pass."""

    @abstractmethod
    def _local_sums(self, passes: int) -> list[Tensor]:
        """This rank's share of the collective: tensors (M,), float64."""

    @abstractmethod
    def _estimate(self, sums: list[Tensor], samples: int, images: float) -> VarianceEstimate:
        """The estimate from the sums over all ranks."""
