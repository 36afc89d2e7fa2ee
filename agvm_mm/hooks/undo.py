"""A forward pass that leaves no trace: random numbers, buffers and attributes as before."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmengine.optim import OptimWrapper
from torch import Tensor, nn


@dataclass(frozen=True)
class RandomState:
    """The random generators of Python, NumPy and torch, on the CPU and on one GPU."""

    python: Any
    numpy: Any
    cpu: Tensor
    gpu: Tensor | None
    device: torch.device

    @classmethod
    def now(cls, device: torch.device) -> RandomState:
        """The present state; ``device`` is where the network is."""
        gpu = torch.cuda.get_rng_state(device) if device.type == 'cuda' else None
        return cls(random.getstate(), np.random.get_state(), torch.get_rng_state(), gpu, device)

    def restore(self) -> None:
        """Draw from here again."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)
        torch.set_rng_state(self.cpu)
        if self.gpu is not None:
            torch.cuda.set_rng_state(self.gpu, self.device)


@contextmanager
def undone(network: nn.Module) -> Iterator[None]:
    """Give every module of ``network`` its buffers and attributes back at the end.

    What an attribute holds is not copied, so a list that the network appends to keeps its entries.
    """
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    attributes = [(vars(module), dict(vars(module))) for module in network.modules()]
    registered = [(module._buffers, dict(module._buffers)) for module in network.modules()]
    try:
        yield
    finally:
        for values, saved in attributes + registered:
            values.clear()
            values.update(saved)
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)


class NoStep:
    """An optimizer wrapper to a training step: the same context, and no backward pass."""

    def __init__(self, wrapper: OptimWrapper, model: nn.Module) -> None:
        self._wrapper, self._model = wrapper, model

    def optim_context(self, model: nn.Module) -> AbstractContextManager[None]:
        """The context of the forward pass, which sets its precision."""
        context: AbstractContextManager[None] = self._wrapper.optim_context(self._model)
        return context

    def update_params(self, loss: Tensor) -> None:
        """Leave the parameters as they are."""
