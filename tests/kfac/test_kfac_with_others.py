"""K-FAC beside clipping by units, and with everything of a wrapper at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from cpu_amp import needs_loss_scaler, on_cpu
from kfac_nets import MixedNet, distance, mixed_batch, train_mixed
from kinds_net import KindsNet
from mmengine.model import BaseModel, MMDistributedDataParallel
from ranks import run_ranks
from torch import Tensor, nn

from agvm_mm import AGVMAmpOptimWrapper

DOUBLE = torch.float64
AGC = dict(type='agc', clip_factor=1e-3, exclude='none')


def clipped(weight: Tensor, gradient: Tensor) -> Tensor:
    """Every output's gradient at most a thousandth of its weight, which counts as 1e-3 at least."""
    if weight.ndim < 2:  # gains and biases as a whole
        size, bound = gradient.norm(), weight.norm().clamp(min=1e-3) * 1e-3
        return gradient * (bound / size).clamp(max=1)
    rows = gradient.flatten(1)
    bounds = weight.flatten(1).norm(dim=1).clamp(min=1e-3) * 1e-3
    return (rows * (bounds / rows.norm(dim=1)).clamp(max=1)[:, None]).view_as(gradient)


def parts(vector: Tensor) -> list[Tensor]:
    sizes = [p.numel() for p in MixedNet().parameters()]
    return [v.view_as(p) for v, p in zip(vector.split(sizes), MixedNet().parameters())]


def test_units_are_clipped_after_k_fac() -> None:
    """One step of rate 0.1, with the preconditioned gradient clipped by hand."""
    torch.manual_seed(0)
    start = torch.cat([p.detach().flatten() for p in MixedNet().double().parameters()])
    free = train_mixed(0, 1, updates=1, dtype=DOUBLE)
    bound = train_mixed(0, 1, updates=1, dtype=DOUBLE, options=dict(clip_grad=AGC))
    steps = zip(parts(start), parts(start - free['weights']), parts(start - bound['weights']))
    shorter = 0
    for weight, plain, found in steps:
        expected = 0.1 * clipped(weight, plain / 0.1)
        assert torch.allclose(found, expected, rtol=1e-9, atol=1e-15)
        shorter += not torch.allclose(expected, plain)
    assert shorter > 5
    for other in run_ranks(_clipped, 2):
        assert distance(other['weights'], bound['weights']) < 1e-12


def _clipped(rank: int) -> dict[str, Any]:
    return train_mixed(rank, 2, updates=1, dtype=DOUBLE, options=dict(clip_grad=AGC))


def _everything(rank: int, ranks: int, counts: int, build: type[BaseModel]) -> Tensor:
    """AGVM, K-FAC, clipping by units, accumulation, mixed precision: 3 updates of 8 images."""
    torch.manual_seed(0)
    network = build().train()
    model = MMDistributedDataParallel(network) if ranks > 1 else network
    kfac = dict(statistics_interval=1, inverse_interval=2, damping=0.1, kl_clip=1e-2)
    with on_cpu('AGVMAmpOptimWrapper'):
        wrapper = AGVMAmpOptimWrapper(
            optimizer=torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9),
            dtype='bfloat16',
            accumulative_counts=counts,
            agvm=dict(interval=1, momentum=0.5),
            kfac=kfac,
            clip_grad=dict(AGC, clip_factor=0.05),
        )
    wrapper.cast_dtype = torch.bfloat16
    wrapper.initialize_count_status(model, 0, 3 * counts)
    share = 8 // ranks // counts
    for update in range(3):
        for micro in range(counts):
            first = (rank * counts + micro) * share
            model.train_step(
                mixed_batch(update, range(first, first + share), torch.float32), wrapper
            )
    return torch.cat([p.detach().flatten() for p in network.parameters()])


@needs_loss_scaler
@pytest.mark.parametrize('build', [MixedNet, KindsNet])
def test_everything_at_once(build: type[nn.Module]) -> None:
    """Two ranks of two micro-batches are one process of four, but for bfloat16's rounding."""
    torch.manual_seed(0)
    start = torch.cat([p.detach().flatten() for p in build().parameters()])
    alone = _everything(0, 1, 4, build)
    first, second = run_ranks(_everything, 2, 2, 2, build)
    assert torch.equal(first, second) and first.isfinite().all()
    assert distance(first, start) > 1e-2
    assert distance(first - start, alone - start) < 0.05
