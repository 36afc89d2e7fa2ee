"""``fully_shard`` models are measured as DDP's, where every sharded group lies in one module."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.distributed.fsdp as fsdp
from attach_runs import AGVM, COUNTS, Detector, adam, batch
from ranks import run_ranks
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import agvm_mm

UPDATES = 3

if not hasattr(getattr(fsdp, 'FSDPModule', None), 'set_custom_reduce_scatter'):
    pytest.skip('fully_shard of this torch does not show what it reduces', allow_module_level=True)
import torch._dynamo  # noqa: E402, F401  what a rank would import, imported before the fork
import torch.distributed.tensor  # noqa: E402, F401
from torch.distributed.device_mesh import init_device_mesh  # noqa: E402


def sharded(model: nn.Module, by_module: bool = True, **options: Any) -> nn.Module:
    shard = partial(fsdp.fully_shard, mesh=init_device_mesh('cpu', (dist.get_world_size(),)))
    if by_module:
        shard(model.backbone, **options)
        shard(model.neck, **options)
        shard(model.bbox_head, **options)
    return shard(model, **options)


def _train(rank: int, dtype: torch.dtype, shards: bool, agvm: Any) -> dict[str, Any]:
    model: Any = Detector().to(dtype)
    model = sharded(model) if shards else DistributedDataParallel(model)
    optimizer = adam(model)
    handle = None
    if agvm is not None:
        handle = agvm_mm.attach(model, optimizer, accumulation=COUNTS, agvm=agvm)
    for update in range(UPDATES):
        optimizer.zero_grad()
        for k in range(COUNTS):
            images, targets = batch(rank, update * COUNTS + k, images=1 + rank)
            (model(images.to(dtype), targets.to(dtype)) / COUNTS).backward()
        optimizer.step()
    whole = [p.full_tensor() if shards else p for p in model.parameters()]
    end = torch.cat([p.detach().reshape(-1) for p in whole])
    return dict(end=end, state=handle and handle.state_dict(), scalars=handle and handle.scalars())


@pytest.mark.parametrize(
    ('ranks', 'dtype'), [(2, torch.float32), (2, torch.float64), (4, torch.float32)]
)
def test_phi_is_that_of_ddp(ranks: int, dtype: torch.dtype) -> None:
    expected = run_ranks(_train, ranks, dtype, False, AGVM)[0]
    found = run_ranks(_train, ranks, dtype, True, AGVM)
    assert all(one['state'] == found[0]['state'] for one in found)
    names = [f'agvm/{kind}/{m}' for kind in ('phi', 'noise_scale', 'scale')
             for m in ('backbone', 'neck', 'bbox_head')]  # fmt: skip
    for name in names:
        assert found[0]['scalars'][name] == pytest.approx(expected['scalars'][name], rel=1e-6)
    torch.testing.assert_close(found[0]['end'], expected['end'], rtol=1e-4, atol=1e-6)


def test_measuring_alone_leaves_sharded_training_bitwise_plain() -> None:
    plain = run_ranks(_train, 2, torch.float32, True, None)
    measured = run_ranks(_train, 2, torch.float32, True, dict(AGVM, apply=False))
    for a, b in zip(plain, measured):
        assert torch.equal(a['end'], b['end'])
    assert measured[0]['state']['agvm']['modules']['neck']['estimates'] == 2


REFUSED: list[tuple[bool, dict[str, Any], str]] = [
    (False, {}, 'several modules in one group (backbone, bbox_head, neck), and they are'),
    (True, dict(agvm=dict(estimator='half_split')), 'is a DTensor, which fully_shard and'),
    (True, dict(agvm=dict(precondition=True)), 'is a DTensor, which fully_shard and'),
    (True, dict(agvm=None, kfac={}), 'is a DTensor, which fully_shard and'),
    (True, dict(clip={}), 'is a DTensor, which fully_shard and'),
]


def _sentences(rank: int) -> list[str]:
    found = []
    for by_module, options, _ in REFUSED:
        model = sharded(Detector().float(), by_module)
        with pytest.raises(ValueError) as caught:
            agvm_mm.attach(model, adam(model), accumulation=2, **options)
        found.append(str(caught.value))
    return found


def test_what_shards_do_not_allow() -> None:
    for found in run_ranks(_sentences, 2):
        for text, (_, _, sentence) in zip(found, REFUSED):
            assert sentence in text and 'optim_wrapper' not in text


def _in_training(rank: int, change: str) -> str:
    model = sharded(Detector().float())
    agvm_mm.attach(model, adam(model), accumulation=2, agvm=AGVM)
    if change == 'sync':
        model.set_requires_gradient_sync(False)
    else:
        model.neck.set_gradient_divide_factor(3.0)
    with pytest.raises(RuntimeError) as caught:
        images, targets = batch(rank, 0)
        model(images.float(), targets.float()).backward()
    return str(caught.value)


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        ('sync', 'fully_shard did not reduce any gradient in a backward pass, as after'),
        ('factor', 'set_gradient_divide_factor of fully_shard lets the collective multiply'),
    ],
)
def test_what_cannot_be_measured_stops_at_the_first_pass(change: str, sentence: str) -> None:
    assert all(sentence in text for text in run_ranks(_in_training, 2, change))
