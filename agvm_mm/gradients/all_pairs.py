r"""The scalar estimator: moments of all sample gradients, which never leave their rank.

Each rank takes the squared norm of every sample gradient inside the backward pass, before the
data-parallel wrapper averages, and the squared norm of its share of the mean afterwards. Summed
over ranks these are A and B of :mod:`agvm_mm.statistics.moments`, which hold the mean over all
N(N-1)/2 pairs of inner products.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property, partial

import torch
from torch import Tensor

from ..statistics import VarianceEstimate, moment_estimate
from .collector import Collector
from .norms import norms, squared_norms, sums_of_squares


class AllPairs(Collector):
    """Moments from local norms; an estimate sends ``16 (M + 1)`` bytes.

    Hooks on the parameters see what one backward pass adds, whether or not the data-parallel
    wrapper synchronises. Ranks and micro-batches are therefore the same mechanism.
    """

    def _begin(self) -> None:
        self._squares = torch.zeros(
            len(self.partition.parameters), dtype=torch.float64, device=self.device
        )

    @contextmanager
    def _around_pass(self, index: int, count: int) -> Iterator[None]:
        self._require_no_later_change()
        pieces: list[Tensor | None] = [None] * len(self.partition.parameters)
        self._pieces = pieces
        handles = [
            parameter.register_hook(partial(self._measure, pieces, i))
            for i, parameter in enumerate(self.partition.parameters)
            if parameter.requires_grad  # some backbones freeze in train(), after binding
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
        self._squares += sums_of_squares(pieces, self.device)

    def _measure(self, pieces: list[Tensor | None], i: int, gradient: Tensor | None) -> None:
        if gradient is None:  # from a SyncBN whose rank has an empty input
            return
        if pieces is not self._pieces:  # of a pass that failed before this one
            return
        if pieces[i] is not None:
            raise RuntimeError(
                f'{self.partition.parameter_names[i]!r} received its gradient in two parts within '
                'one backward pass, which re-entrant activation checkpointing of a shared layer '
                'causes: set use_reentrant=False there, or agvm=dict(estimator="half_split").'
            )
        gradient = gradient.detach()
        measured = self.preconditioned(i, gradient)
        pieces[i] = None if measured is None else norms(measured)

    def _local_sums(self, passes: int) -> list[Tensor]:
        mean = [
            None if gradient is None or not mine else self.preconditioned(i, gradient)
            for i, (gradient, mine) in enumerate(zip(self.gradients(), self._mine))
        ]
        samples = self.partition.sum(self._squares) * passes**2
        return [samples, self.partition.sum(squared_norms(mean, self.device))]

    @cached_property
    def _mine(self) -> list[bool]:
        """The parameters whose mean gradients this rank measures.

        All ranks have the same mean gradients, so each rank measures an equal share of the numbers,
        in the order of the parameters.
        """
        sizes = [parameter.numel() for parameter in self.partition.parameters]
        ranks, total, end, mine = self.communicator.size, sum(sizes), 0, []
        for size in sizes:
            end += size
            mine.append((2 * end - size) * ranks // (2 * total) == self.communicator.rank)
        return mine

    def _estimate(self, sums: list[Tensor], samples: int, images: float) -> VarianceEstimate:
        total, b = sums
        return moment_estimate(total / samples, b, samples, images)
