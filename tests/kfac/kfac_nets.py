"""Small networks: one measurement, and a training over ranks and micro-batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch._dynamo  # noqa: F401  for DistributedDataParallel, before ranks are forked
from mmengine.model import BaseModel, MMDistributedDataParallel
from torch import Tensor, nn

from agvm_mm import AGVMOptimWrapper
from agvm_mm.distributed import SingleProcess
from agvm_mm.kfac import KFAC, KFACSettings
from agvm_mm.parts import KFACPart

PLAIN: dict[str, Any] = dict(max_block=None, kl_clip=None, growing_intervals=False)
"""Whole factors, no bound on the step, fixed intervals: for numbers worked out by hand."""


def kfac_of(network: nn.Module, **settings: Any) -> KFAC:
    options = dict(momentum=0.0, statistics_interval=1, inverse_interval=1, damping=0.1, **PLAIN)
    return KFAC(network, KFACSettings(**{**options, **settings}), SingleProcess())


def measured_factors(
    network: nn.Module,
    inputs: Any,
    loss_of: Callable[[Tensor], Tensor],
    images: int | None = None,
    **settings: Any,
) -> KFAC:
    """After one backward pass and measurement, before the gradients are replaced."""
    kfac = kfac_of(network, **settings)
    loss = loss_of(network(inputs))
    with kfac.around_backward(0, 1, len(inputs) if images is None else images):
        loss.backward()
    assert kfac._measure(0)
    kfac._capture.reset()
    return kfac


class MixedNet(BaseModel):
    """Every kind of layer that K-FAC knows, an in-place activation, a head called on two levels."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1),
            nn.GroupNorm(2, 8),
            nn.ReLU(inplace=True),
            nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=2, bias=False),
            nn.BatchNorm2d(8).eval(),
            nn.ReLU(inplace=True),
        )
        self.neck = nn.ModuleList([nn.Conv2d(8, 6, 1), nn.Conv2d(8, 6, 3, stride=2, padding=1)])
        self.shared = nn.Conv2d(6, 6, 3, padding=1)
        self.norm = nn.LayerNorm(6)
        self.head = nn.Linear(6, 4)

    def train(self, mode: bool = True) -> MixedNet:
        super().train(mode)
        self.backbone[4].eval()  # batch statistics would tie the images of a rank together
        return self

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        features = self.backbone(inputs)
        levels = [self.shared(neck(features)).mean((2, 3)) for neck in self.neck]
        scores = self.head(self.norm(sum(levels)))
        return dict(loss=nn.functional.cross_entropy(scores, data_samples))


def mixed_batch(update: int, images: range, dtype: torch.dtype) -> dict[str, Any]:
    """Images of an update by number, whichever rank or micro-batch they go to."""
    generators = [torch.Generator().manual_seed(1000 * update + image) for image in images]
    return dict(
        inputs=torch.stack([torch.randn(3, 9, 9, generator=g) for g in generators]).to(dtype),
        data_samples=torch.stack([torch.randint(0, 4, (), generator=g) for g in generators]),
    )


def train_mixed(
    rank: int,
    ranks: int,
    counts: int = 1,
    updates: int = 2,
    dtype: torch.dtype = torch.float32,
    batch: int = 8,
    build: Callable[[], BaseModel] = MixedNet,
    options: dict[str, Any] | None = None,
    alter: Callable[[AGVMOptimWrapper, int], None] | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Weights and K-FAC's state after some updates of ``batch`` images each.

    Args:
        build: makes the network.
        options: of the wrapper, beside ``kfac``.
        alter: called with the wrapper and the update before each update.
    """
    torch.manual_seed(0)
    network = build().to(dtype).train()
    model = MMDistributedDataParallel(network) if ranks > 1 else network
    kfac = dict(momentum=0.5, statistics_interval=1, inverse_interval=1, damping=0.1, **PLAIN)
    wrapper = AGVMOptimWrapper(
        torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9),
        accumulative_counts=counts,
        agvm=None,
        kfac={**kfac, **settings},
        **(options or {}),
    )
    wrapper.initialize_count_status(model, 0, updates * counts)
    share = batch // ranks // counts
    for update in range(updates):
        if alter is not None:
            alter(wrapper, update)
        for micro in range(counts):
            first = (rank * counts + micro) * share
            model.train_step(mixed_batch(update, range(first, first + share), dtype), wrapper)
    wrapper.part(KFACPart).gather()
    return dict(
        weights=torch.cat([p.detach().reshape(-1) for p in network.parameters()]),
        state=wrapper.state_dict()['kfac'],
        gaps=[layer.clock.gap for layer in wrapper.part(KFACPart).preconditioner.layers],
        skipped=wrapper.part(KFACPart).preconditioner.skipped,
    )


def factors_of(result: dict[str, Any]) -> dict[str, Tensor]:
    return {name: entry['factors'] for name, entry in result['state']['layers'].items()}


def distance(left: Tensor, right: Tensor) -> float:
    return float((left - right).norm() / right.norm())
