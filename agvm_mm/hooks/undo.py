"""A forward pass that leaves no trace: random numbers, buffers and attributes as before."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
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
