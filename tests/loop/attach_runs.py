"""One small detector and its data, trained by MMEngine's wrapper and by loops of other kinds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import agvm_mm

COUNTS = 2
AGVM = dict(interval=2, momentum=0.5)


class Detector(nn.Module):
    """Class and box at every position, as far as three modules need it; float64."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.backbone = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.Tanh())
        self.neck = nn.Conv2d(6, 6, 1)
        self.bbox_head = nn.Conv2d(6, 5, 3, padding=1)
        self.double()

    def forward(self, images: Tensor, targets: Tensor) -> Tensor:
        """The loss, the mean over images."""
        found = self.bbox_head(torch.tanh(self.neck(self.backbone(images))))
        return nn.functional.mse_loss(found, targets)


def batch(rank: int, step: int, images: int = 2) -> tuple[Tensor, Tensor]:
    """Different data for every rank and micro-batch."""
    generator = torch.Generator().manual_seed(1000 * rank + step)
    shape = dict(generator=generator, dtype=torch.float64)
    return torch.randn(images, 3, 4, 4, **shape), torch.randn(images, 5, 4, 4, **shape)


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=0.01)


def weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def wrapped(model: nn.Module) -> nn.Module:
    """In DDP, where there are ranks."""
    return DistributedDataParallel(model) if dist.is_initialized() else model


def accumulate(model: nn.Module, rank: int, update: int, counts: int = COUNTS) -> None:
    """The backward passes of one update, as a plain loop writes them."""
    for k in range(counts):
        no_sync = isinstance(model, DistributedDataParallel) and k + 1 < counts
        with model.no_sync() if no_sync else nullcontext():
            (model(*batch(rank, update * counts + k)) / counts).backward()


def plain(
    model: nn.Module, optimizer: torch.optim.Optimizer, rank: int, updates: range
) -> Iterator[int]:
    """A loop that knows nothing of us; gives the update before every step."""
    for update in updates:
        optimizer.zero_grad()
        accumulate(model, rank, update)
        yield update
        optimizer.step()


def by_attach(rank: int, updates: int, **options: Any) -> tuple[dict[str, Any], Tensor]:
    """State and weights of a plain loop with ``attach``."""
    model = wrapped(Detector())
    optimizer = adam(model)
    handle = agvm_mm.attach(model, optimizer, accumulation=COUNTS, **{'agvm': AGVM, **options})
    for _ in plain(model, optimizer, rank, range(updates)):
        pass
    return handle.state_dict(), weights(model)


def by_wrapper(rank: int, updates: int, **options: Any) -> tuple[dict[str, Any], Tensor]:
    """The same by MMEngine's wrapper."""
    from mmengine.model import BaseModel, MMDistributedDataParallel

    class Model(BaseModel):
        def __init__(self) -> None:
            super().__init__()
            for name, child in Detector().named_children():
                self.add_module(name, child)

        def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'loss') -> Any:
            return dict(loss=Detector.forward(self, inputs, data_samples))

    bare = Model().double()
    model = MMDistributedDataParallel(bare) if dist.is_initialized() else bare
    options = {'agvm': AGVM, **options}
    wrapper = agvm_mm.AGVMOptimWrapper(adam(bare), accumulative_counts=COUNTS, **options)
    wrapper.initialize_count_status(model, 0, updates * COUNTS)
    for step in range(updates * COUNTS):
        inputs, targets = batch(rank, step)
        model.train_step(dict(inputs=inputs, data_samples=targets), wrapper)
    return wrapper.state_dict(), weights(bare)
