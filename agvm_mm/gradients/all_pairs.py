r"""The scalar estimator: moments of all sample gradients, gradients never leave their rank.

Each rank takes the squared norm of every sample gradient inside the backward pass, before the
data-parallel wrapper averages, and the squared norm of the mean afterwards. Summed over ranks
these are A and B of :mod:`agvm_mm.statistics.moments`, which hold the mean over all N(N-1)/2
pairs of inner products.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from ..statistics import VarianceEstimate, moment_estimate
from .collector import Collector
from .norms import squared_norm, squared_norms, stack


class AllPairs(Collector):
    """Moments from local norms; ``16 (M + 1)`` bytes on the wire an estimate.

    Hooks on the parameters see what one backward pass adds, whether or not the wrapper
    synchronises, so ranks and micro-batches are the same to it.
    """

    def start(self, count: int) -> None:
        """See :class:`Collector`."""
        self._squares = torch.zeros(
            len(self.partition.parameters), dtype=torch.float64, device=self.device
        )

    @contextmanager
    def watch(self, index: int, count: int) -> Iterator[None]:
        """See :class:`Collector`."""
        squares: list[Tensor | None] = [None] * len(self.partition.parameters)
        handles = [
            parameter.register_hook(partial(self._measure, squares, i))
            for i, parameter in enumerate(self.partition.parameters)
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
        self._squares += stack(squares, self.device)

    def _measure(self, squares: list[Tensor | None], i: int, gradient: Tensor) -> None:
        if squares[i] is not None:
            raise RuntimeError(
                f'{self.partition.parameter_names[i]!r} received its gradient in two parts within '
                'one backward pass, as re-entrant activation checkpointing of a shared layer '
                'makes it: use use_reentrant=False there, or agvm=dict(estimator="half_split").'
            )
        gradient = gradient.detach()
        measured = self.preconditioned(i, gradient)
        squares[i] = None if measured is None else squared_norm(measured)

    def local_sums(self, passes: int) -> list[Tensor]:
        """See :class:`Collector`."""
        mean = [
            None if gradient is None else self.preconditioned(i, gradient)
            for i, gradient in enumerate(self.gradients())
        ]
        samples = self.partition.sum(self._squares) * passes**2
        # Every rank holds the same mean; a share each makes the sum one copy of it.
        shared = self.partition.sum(squared_norms(mean, self.device)) / self.communicator.size
        return [samples, shared]

    def estimate(self, sums: list[Tensor], samples: int, images: int) -> VarianceEstimate:
        """See :class:`Collector`."""
        total, b = sums
        return moment_estimate(total / samples, b, samples, images)
