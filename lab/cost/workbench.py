"""One rank's network, optimizer and cases, on a fixed batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from mmengine.model import MMDistributedDataParallel
from torch import Tensor

from .arms import PLAIN, Case, build_cases
from .models import MODELS_BY_NAME, build_batch, build_model
from .wire import reduce_in_python


@dataclass(frozen=True)
class Options:
    """What to measure.

    Args:
        model: a key of :data:`lab.cost.models.MODELS_BY_NAME`.
        ranks: processes, at least 2.
        images: on each rank.
        size: pixels of an image's side; None for the model's own.
        repeats: timed rounds over all cases.
        warmup: rounds before them.
        device: 'cpu' or 'cuda'.
        arms: parts of the names of the arms to run; plain DDP always runs.
    """

    model: str
    ranks: int = 2
    images: int = 2
    size: int | None = None
    repeats: int = 20
    warmup: int = 2
    device: str = 'cpu'
    arms: tuple[str, ...] = ('',)


class Workbench:
    """Runs any case from the same weights, the same batch and the same random numbers.

    The learning rate is 0, so weights stay what they are while every operation of the step is made.

    Args:
        options: what to measure.
        rank: this process.
        counted: reduce buckets where they can be counted.
    """

    def __init__(self, options: Options, rank: int, counted: bool) -> None:
        self.device = _device(options.device, rank)
        network = build_model(options.model).to(self.device)
        ids = None if self.device.type == 'cpu' else [self.device.index]
        self.model = MMDistributedDataParallel(network, device_ids=ids, broadcast_buffers=False)
        if counted:
            reduce_in_python(self.model)
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        optimizer = torch.optim.SGD(self.parameters, lr=0.0, momentum=0.9, weight_decay=1e-4)
        wanted = (PLAIN, *options.arms)
        self.cases: list[Case] = [
            case
            for case in build_cases(self.model, optimizer)
            if any(part in case.arm for part in wanted)
        ]
        size = options.size or MODELS_BY_NAME[options.model].size
        self._batch: dict[str, Any] = build_batch((rank,), options.images, size, options.model)

    def run(self, case: Case) -> None:
        """One update."""
        torch.manual_seed(0)  # the sampling of proposals
        case.step({key: list(value) for key, value in self._batch.items()})

    def gradient(self) -> list[Tensor]:
        """A copy of the gradient that the last update left."""
        return [p.grad.clone() for p in self.parameters if p.grad is not None]

    def synchronize(self) -> None:
        """Wait for this rank's device."""
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)


def _device(kind: str, rank: int) -> torch.device:
    if kind == 'cpu':
        return torch.device('cpu')
    device = torch.device('cuda', rank % torch.cuda.device_count())
    torch.cuda.set_device(device)
    return device
