r"""The authors' scheme as a baseline, written afresh from its description; for measuring only.

No data-parallel wrapper reduces. After the backward pass every parameter tensor is reduced by a
collective of its own; on an estimation step first within each half of the ranks, then over all.
Two ranks, one of each half, send each other their half-batch means; rank 0 computes the cosines and
broadcasts them.

Source: Xue et al., "Large-batch Optimization for Dense Visual Predictions", NeurIPS 2022.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from agvm_mm.statistics import (
    ScaleConfig,
    VarianceEstimate,
    init_scales,
    partition_parameters,
    update_scales,
)


class AuthorsScheme:
    """One update of the network inside ``model``, whose own reduction is left out.

    Must be made on all ranks at the same point: it opens three groups.

    Args:
        model: the wrapped network.
        optimizer: steps with every module's learning rate scaled.
    """

    def __init__(self, model: DistributedDataParallel, optimizer: Optimizer) -> None:
        self._model = model
        self._optimizer = optimizer
        self._partition = partition_parameters(model.module)
        self._state = init_scales(len(self._partition))
        self._size, self._rank = dist.get_world_size(), dist.get_rank()
        half = self._size // 2
        groups = [
            dist.new_group(list(range(half))),
            dist.new_group(list(range(half, self._size))),
        ]
        self._half = groups[0] if self._rank < half else groups[1]
        # The second half's member sits on another node where nodes have eight processes.
        self._pair = sorted({0, min(half + 8, self._size - 1)})
        self._pair_group = dist.new_group(self._pair)

    def step(self, data: Any, estimating: bool) -> None:
        """Forward, backward, reduce, estimate if asked to, and step."""
        self._optimizer.zero_grad()
        with self._model.no_sync():
            self._loss(data).backward()
        found = zip(self._partition.module_of.tolist(), self._partition.parameters)
        gradients = [(module, p.grad) for module, p in found if p.grad is not None]
        if estimating:
            self._estimate(gradients)
        else:
            for _, gradient in gradients:
                dist.all_reduce(gradient.div_(self._size))
        self._apply()

    def _loss(self, data: Any) -> Tensor:
        network: Any = self._model.module
        data = network.data_preprocessor(data, True)
        loss: Tensor = network.parse_losses(self._model(**data, mode='loss'))[0]
        return loss

    def _estimate(self, gradients: list[tuple[int, Tensor]]) -> None:
        for _, gradient in gradients:
            dist.all_reduce(gradient.div_(self._size), group=self._half)
        share = dist.get_world_size(self._half) / self._size
        mean = torch.cat([gradient.flatten() for _, gradient in gradients]) / share
        found = torch.zeros(len(self._partition), device=mean.device)
        if self._rank in self._pair:
            means = [torch.empty_like(mean) for _ in self._pair]
            dist.all_gather(means, mean, group=self._pair_group)
            if self._rank == 0:
                found = self._cosines(gradients, means)
        for _, gradient in gradients:
            # Every half holds its own sum as many times as it has ranks.
            dist.all_reduce(gradient.div_(dist.get_world_size(self._half)))
        dist.broadcast(found, src=0)
        phi = torch.tensor([value.item() for value in found], dtype=torch.float64)
        estimate = VarianceEstimate(phi, torch.ones_like(phi), self._size, 0)
        self._state = update_scales(self._state, estimate, ScaleConfig(average='scale'))

    def _cosines(self, gradients: list[tuple[int, Tensor]], means: list[Tensor]) -> Tensor:
        """1 - cosine of every module, from the flat means of both halves."""
        sizes = [gradient.numel() for _, gradient in gradients]
        first, second = (mean.split(sizes) for mean in means)
        found = []
        for module in range(len(self._partition)):
            mine = [i for i, (owner, _) in enumerate(gradients) if owner == module]
            a, b = (torch.cat([part[i] for i in mine]) for part in (first, second))
            found.append(1 - torch.nn.functional.cosine_similarity(a, b, dim=0))
        return torch.stack(found)

    def _apply(self) -> None:
        """Step with one group a module, then put the optimizer's groups back."""
        groups = self._optimizer.param_groups
        parameters = self._partition.parameters
        owners = self._partition.module_of.tolist()
        self._optimizer.param_groups = [
            {
                **groups[0],
                'params': [p for p, owner in zip(parameters, owners) if owner == module],
                'lr': groups[0]['lr'] * float(scale),
            }
            for module, scale in enumerate(self._state.scales)
        ]
        self._optimizer.step()
        self._optimizer.param_groups = groups
