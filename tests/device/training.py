"""A small training with every kind of layer, on any device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any
from unittest import mock

import matplotlib.figure  # noqa: F401  what MMEngine would import in every test
import pytest
import torch
import torch._dynamo  # noqa: F401  for DistributedDataParallel
from cpu_amp import MISSING, REASON
from mmengine.model import BaseModel
from mmengine.optim import build_optim_wrapper
from torch import Tensor, nn
from waits import host_waits

import agvm_mm  # noqa: F401  registers the wrappers
from agvm_mm.parts import AGVMPart

AMP = 'mmengine.optim.optimizer.amp_optimizer_wrapper'
ADAMW = dict(type='AdamW', lr=0.01, weight_decay=0.01)
SGD = dict(type='SGD', lr=0.05, momentum=0.9)
EVERY_OTHER = dict(interval=2, momentum=0.5)


class DeviceNet(BaseModel):
    """Convolutions, plain and grouped, norms of three kinds, a head that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1),
            nn.GroupNorm(2, 8),
            nn.ReLU(inplace=True),
            nn.Conv2d(8, 8, 3, padding=1, groups=2, bias=False),
            nn.BatchNorm2d(8),
        )
        self.neck = nn.ModuleList([nn.Conv2d(8, 6, 1), nn.Conv2d(8, 6, 3, stride=2, padding=1)])
        self.norm = nn.LayerNorm(6)
        self.head = nn.Linear(6, 4)

    def train(self, mode: bool = True) -> DeviceNet:
        super().train(mode)
        self.backbone[4].eval()  # batch statistics would tie the images of a rank together
        return self

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        features = self.backbone(inputs)
        scores = sum(self.head(self.norm(neck(features).mean((2, 3)))) for neck in self.neck)
        return dict(loss=nn.functional.cross_entropy(scores.float(), data_samples))


def batch(step: int, images: int = 4, rank: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1000 * rank + step)
    return dict(
        inputs=torch.randn(images, 3, 9, 9, generator=generator),
        data_samples=torch.randint(0, 4, (images,), generator=generator),
    )


@contextmanager
def amp_on(device: str) -> Iterator[None]:
    """Lets MMEngine build its mixed-precision wrapper with torch's own scaler for the device."""
    if device == 'cuda':
        yield
        return
    if MISSING:
        pytest.skip(REASON)
    with (
        mock.patch(f'{AMP}.is_cuda_available', lambda: True),
        mock.patch(f'{AMP}.GradScaler', partial(torch.amp.GradScaler, device)),
    ):
        yield


def prepared(
    device: str,
    config: Mapping[str, Any],
    net: nn.Module | None = None,
    wrap: Callable[[nn.Module], nn.Module] = lambda model: model,
) -> tuple[nn.Module, Any]:
    """A network on the device and its wrapper, which has met it."""
    torch.manual_seed(0)
    model = wrap((DeviceNet() if net is None else net).to(device).train())
    rest = dict(config)
    rate = rest.pop('rate_on_device', None)
    with amp_on(device) if 'Amp' in rest['type'] else nullcontext():
        wrapper = build_optim_wrapper(model, rest)
    if rate is not None:
        for group in wrapper.optimizer.param_groups:
            group['lr'] = torch.tensor(rate, device=device)
    wrapper.initialize_count_status(model, 0, 100)
    return model, wrapper


def train(model: nn.Module, wrapper: Any, steps: range, images: int = 4) -> None:
    for step in steps:
        model.train_step(batch(step, images), wrapper)


def waits_of_steps(device: str, config: Mapping[str, Any], steps: int) -> list[list[str]]:
    """What the host waits for in each step, the batch being on the device."""
    model, wrapper = prepared(device, config)
    found = []
    for step in range(steps):
        here = {key: value.to(device) for key, value in batch(step).items()}
        with wrapper.optim_context(model), host_waits(device) as waits:
            losses = model(**model.data_preprocessor(here, True), mode='loss')
            wrapper.update_params(losses['loss'])
        found.append(waits)
    return found


def weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().reshape(-1).cpu() for p in model.parameters()])


def agvm_state(wrapper: Any) -> dict[str, Any]:
    return wrapper.part(AGVMPart).state_dict()
