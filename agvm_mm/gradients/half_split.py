r"""The paper's estimator: the cosine of two half-batch means.

The ranks are divided into the first ``R // 2`` and the rest; with one rank, the micro-batches are.
Only the first half's mean is collected. The other half's mean follows from the mean gradient:

.. math:: G_b = \frac{R \, G - R_a G_a}{R - R_a} .

Source: Xue et al., NeurIPS 2022, section 3.2; Qin et al., "SimiGrad", NeurIPS 2021.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial, reduce

import torch
from torch import Tensor

from ..distributed import Communicator
from ..statistics import ModulePartition, VarianceEstimate, cosine_estimate
from .collector import BlockPreconditioner, Collector, Preconditioner
from .norms import inner_products, squared_norms


class _HalfSplit(Collector):
    """Compares the first half's mean gradient, kept in a flat buffer, with the second half's.

    Args:
        partition: see :class:`Collector`.
        communicator: likewise.
        preconditioner: likewise.
        blocks: measure P g with P distributed over the ranks.
    """

    def __init__(
        self,
        partition: ModulePartition,
        communicator: Communicator,
        preconditioner: Preconditioner | None = None,
        blocks: BlockPreconditioner | None = None,
    ) -> None:
        super().__init__(partition, communicator, preconditioner)
        self.blocks = blocks

    def _begin(self) -> None:
        if not self._holds_first_mean():
            return
        parameters = self.partition.parameters
        dtype = reduce(torch.promote_types, (p.dtype for p in parameters))
        flat = torch.zeros(sum(p.numel() for p in parameters), dtype=dtype, device=self.device)
        self._flat = flat
        self._first = [
            view.view_as(p)
            for view, p in zip(flat.split([p.numel() for p in parameters]), parameters)
        ]

    def _holds_first_mean(self) -> bool:
        return True

    def _estimate(self, sums: list[Tensor], samples: int, images: float) -> VarianceEstimate:
        dot, square_a, square_b = sums
        return cosine_estimate(dot, square_a, square_b, samples, images)

    def _compare(self, share: float) -> list[Tensor]:
        """Inner product and squared norms of both means.

        Args:
            share: the first half's share of the sample gradients; the buffer holds the first
                mean times this share.
        """
        halves = self._halves(share)
        blocks = None if self.blocks is None else self.blocks.blocks()
        members = [[i] for i in range(len(halves[0]))] if blocks is None else blocks
        a, b = (
            [self._apply(number, [half[i] for i in block]) for number, block in enumerate(members)]
            for half in halves
        )
        columns = [
            inner_products(a, b, self.device),
            squared_norms(a, self.device),
            squared_norms(b, self.device),
        ]
        if blocks is not None:
            columns = [self._by_parameter(column, blocks) for column in columns]
        return [self.partition.sum(column) for column in columns]

    def _by_parameter(self, column: Tensor, blocks: Sequence[Sequence[int]]) -> Tensor:
        """Values of blocks, each with the first parameter of its block, (P,)."""
        parts = [column.new_zeros(())] * len(self.partition.parameters)
        for value, block in zip(column.unbind(), blocks):
            parts[block[0]] = parts[block[0]] + value
        return torch.stack(parts)

    def _halves(self, share: float) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """The means of both halves; the first in the place of the buffer."""
        self._flat /= share
        pairs = zip(self.gradients(), self._first)
        means = [torch.zeros_like(a) if mean is None else mean for mean, a in pairs]
        second = torch._foreach_mul(means, 1 / (1 - share))
        torch._foreach_add_(second, self._first, alpha=-share / (1 - share))
        return self._first, second

    def _apply(self, number: int, gradients: Sequence[Tensor]) -> Tensor | None:
        if self.blocks is None:
            return self.preconditioned(number, gradients[0])
        return self.blocks.apply(number, gradients)

    def _release(self) -> None:
        if self._holds_first_mean():
            del self._flat, self._first


class HalfSplitRanks(_HalfSplit):
    """Halves of the ranks; an estimate reduces one gradient over half of the ranks.

    Hooks on the parameters see what every backward pass adds, whether or not the data-parallel
    wrapper reduces it, so this works with any bucket layout and communication hook.
    """

    def _weight(self, index: int, count: int) -> float:
        """The weight depends on the size of the half that contains the sample gradient."""
        share = (self.communicator.size // 2) / self.communicator.size
        return _half_weight(share if self.communicator.in_first_half() else 1 - share)

    def _holds_first_mean(self) -> bool:
        return self.communicator.in_first_half() or self.blocks is not None

    @contextmanager
    def _around_pass(self, index: int, count: int) -> Iterator[None]:
        self._require_no_later_change()
        if not self.communicator.in_first_half():
            yield
            return
        handles = [
            parameter.register_hook(partial(self._add, i))
            for i, parameter in enumerate(self.partition.parameters)
            if parameter.requires_grad  # some backbones freeze in train(), after binding
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _add(self, i: int, gradient: Tensor | None) -> None:
        if gradient is not None:  # it is from a SyncBN whose rank has an empty input
            self._first[i].add_(gradient.detach())

    def _local_sums(self, passes: int) -> list[Tensor]:
        size = self.communicator.size
        if self.communicator.in_first_half():
            self.communicator.reduce_half_to_first(self._flat)
        if self.communicator.rank == 0:
            self._flat /= size
        if self.blocks is not None:
            self.communicator.start_broadcast(self._flat, 0).wait()
        if self.communicator.rank == 0 or self.blocks is not None:
            sums = self._compare((size // 2) / size)
        else:
            sums = [torch.zeros(len(self.partition), dtype=torch.float64, device=self.device)] * 3
        self._release()
        return sums


class HalfSplitMicroBatches(_HalfSplit):
    """Halves of the micro-batches of one process."""

    def _weight(self, index: int, count: int) -> float:
        """The weight depends on the size of the half that contains the sample gradient."""
        share = (count // 2) / count
        return _half_weight(share if index < count // 2 else 1 - share)

    @contextmanager
    def _around_pass(self, index: int, count: int) -> Iterator[None]:
        self._require_no_later_change()
        yield
        if index + 1 == count // 2:
            for part, gradient in zip(self._first, self.gradients()):
                if gradient is not None:
                    part.copy_(gradient)

    def _local_sums(self, passes: int) -> list[Tensor]:
        sums = self._compare((passes // 2) / passes)
        self._release()
        return sums


def _half_weight(share: float) -> float:
    r"""1 for equal halves.

    .. math:: \frac{4}{b} = \frac{1}{b_a} + \frac{1}{b_b} , \qquad
              \frac{1}{b_a} = \frac{1}{N_a^2} \sum_{k \in a} \frac{1}{b_k}
    """
    return 1 / (2 * share) ** 2
