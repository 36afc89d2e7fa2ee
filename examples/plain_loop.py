"""AGVM in a plain loop: ``python examples/plain_loop.py``, or with ``torchrun``."""

import os
from contextlib import nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

import agvm_mm
from tiny_detector import Detector, batch

ACCUMULATION = 4


def train(updates: int = 60) -> agvm_mm.Handle:
    """Train on this rank, with gradients from ``ACCUMULATION`` batches in every update."""
    torch.manual_seed(0)
    model: Any = Detector()
    if dist.is_initialized():
        model = DistributedDataParallel(model)
        torch.manual_seed(1 + dist.get_rank())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    handle = agvm_mm.attach(model, optimizer, accumulation=ACCUMULATION, agvm=dict(interval=5))
    for _ in range(updates):
        optimizer.zero_grad()
        for k in range(ACCUMULATION):
            ranks_wait = dist.is_initialized() and k + 1 < ACCUMULATION
            with model.no_sync() if ranks_wait else nullcontext():
                (model(*batch()) / ACCUMULATION).backward()
        optimizer.step()
    return handle


if __name__ == '__main__':
    if 'RANK' in os.environ:
        dist.init_process_group('gloo')
    table = train().table()
    if not dist.is_initialized() or dist.get_rank() == 0:
        print(table)
