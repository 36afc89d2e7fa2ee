r"""The scalar estimator for ``fully_shard``, where no rank holds a mean gradient.

Every reduce-scatter of a sharded group receives this rank's gradient of one backward pass, not
reduced yet, and returns this rank's shard of the sum over ranks. Their squared norms, summed over
ranks, are A and B of :mod:`agvm_mm.statistics.moments`. The shards of an update are added up apart
from the optimizer's gradients, which may be in another unit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..distributed import Communicator
from ..statistics import ModulePartition, VarianceEstimate, moment_estimate
from .collector import Collector
from .norms import squared_norms


def shard_group(network: nn.Module) -> dist.ProcessGroup | None:
    """The ranks over which ``fully_shard`` shards all trainable parameters.

    None if it does not, or in another way, or with a torch that does not show the gradients before
    they are reduced.
    """
    meshes = {getattr(p, 'device_mesh', None) for p in network.parameters() if p.requires_grad}
    mesh = meshes.pop() if len(meshes) == 1 else None
    if mesh is None or mesh.ndim != 1 or mesh.size() < 2 or not _sharded_modules(network):
        return None
    group: dist.ProcessGroup = mesh.get_group()
    return group


class ShardedAllPairs(Collector):
    """Moments from the reduce-scatters of ``fully_shard``; an estimate sends ``16 (M + 1)`` bytes.

    Args:
        network: whose modules were sharded.
        partition: see :class:`Collector`.
        communicator: likewise.

    Raises:
        ValueError: parameters of several modules were sharded together.
    """

    def __init__(
        self, network: nn.Module, partition: ModulePartition, communicator: Communicator
    ) -> None:
        super().__init__(partition, communicator)
        self._active = False
        owners_of = zip(partition.parameters, partition.module_of.tolist())
        module_of = {id(parameter): owner for parameter, owner in owners_of}
        modules: list[int] = []
        for sharded, name, parameters in _sharded_groups(network):
            owners = {module_of[id(p)] for p in parameters if id(p) in module_of}
            if len(owners) > 1:
                several = ', '.join(sorted(partition.names[owner] for owner in owners))
                raise ValueError(
                    f'fully_shard was called for {name or "the whole model"!r} with parameters of '
                    f'several modules in one group ({several}), and they are reduced together; '
                    'call it for every module first and for the whole model last, or set '
                    'optim_wrapper.agvm=None.'
                )
            for owner in owners:
                watch: Any = _ReduceScatter(self, len(modules))
                sharded.set_custom_reduce_scatter(watch)
                modules.append(owner)
        self._module_of = torch.tensor(modules, device=self.device)

    def gradients(self) -> list[Tensor | None]:
        """This rank's shards."""
        found = (parameter.grad for parameter in self.partition.parameters)
        return [None if g is None else g.to_local() for g in found]  # type: ignore[attr-defined]

    def reduced(self, group: int, local: Tensor, shard: Tensor, summed: bool) -> None:
        """A group was reduced: its gradient of this rank, and the sum over ranks or their mean."""
        if self._active:
            self._squares[group] += squared_norms([local], self.device)[0]
            total = shard if summed else shard * self.communicator.size
            before = self._sums[group]
            self._sums[group] = total.clone() if before is None else before + total
            self._reduced = True

    def _begin(self) -> None:
        groups = len(self._module_of)
        self._squares = torch.zeros(groups, dtype=torch.float64, device=self.device)
        self._sums: list[Tensor | None] = [None] * groups

    @contextmanager
    def _around_pass(self, index: int, count: int) -> Iterator[None]:
        self._active, self._reduced = True, False
        try:
            yield
        finally:
            self._active = False
        if not self._reduced:
            raise RuntimeError(
                'fully_shard did not reduce any gradient in a backward pass, as after '
                'set_requires_gradient_sync(False), and AGVM sees gradients when they are reduced: '
                'let every pass reduce its gradients, or set optim_wrapper.agvm=None.'
            )

    def _local_sums(self, passes: int) -> list[Tensor]:
        means = squared_norms(self._sums, self.device) / self.communicator.size**2
        self._sums = []
        return [self._by_module(self._squares) * passes**2, self._by_module(means)]

    def _by_module(self, values: Tensor) -> Tensor:
        total = torch.zeros(len(self.partition), dtype=values.dtype, device=values.device)
        return total.index_add_(0, self._module_of, values)

    def _estimate(self, sums: list[Tensor], samples: int, images: float) -> VarianceEstimate:
        total, b = sums
        return moment_estimate(total / samples, b, samples, images)


class _ReduceScatter:
    """Reduces as ``fully_shard`` does by default, and shows what it reduces."""

    def __init__(self, collector: ShardedAllPairs, group: int) -> None:
        self._collector = collector
        self._group = group

    def allocate(self, size: Sequence[int], *, dtype: torch.dtype, device: torch.device) -> Tensor:
        """A new buffer."""
        return torch.empty(*size, dtype=dtype, device=device)

    def __call__(
        self,
        output_tensor: Tensor,
        input_tensor: Tensor,
        group: dist.ProcessGroup,
        op: Any,
        async_op: bool = False,
    ) -> Any:
        """Reduce and scatter."""
        if op not in (dist.ReduceOp.SUM, dist.ReduceOp.AVG):
            raise RuntimeError(
                'set_gradient_divide_factor of fully_shard lets the collective multiply the '
                'gradients, which AGVM cannot measure; leave the factor as it is, or set '
                'optim_wrapper.agvm=None.'
            )
        work = reduce_scatter(output_tensor, input_tensor, op=op, group=group, async_op=async_op)
        if work is not None:
            work.wait()
        summed = op == dist.ReduceOp.SUM
        self._collector.reduced(self._group, input_tensor, output_tensor, summed)
        return work


# The name since torch 2.13; the old one warns there.
reduce_scatter = getattr(dist, 'reduce_scatter_single', None) or dist.reduce_scatter_tensor


def _sharded_modules(network: nn.Module) -> list[tuple[str, Any]]:
    """The modules for which ``fully_shard`` was called, innermost first."""
    named = [
        (name, module)
        for name, module in network.named_modules()
        if hasattr(module, 'set_custom_reduce_scatter')
    ]
    return named[::-1]


def _sharded_groups(network: nn.Module) -> Iterator[tuple[Any, str, list[nn.Parameter]]]:
    """Each sharded module with the parameters that are reduced together at it."""
    taken: set[int] = set()
    for name, module in _sharded_modules(network):
        mine = [p for p in module.parameters() if id(p) not in taken]
        taken.update(map(id, mine))
        yield module, name, mine
