"""Loops in which ranks differ in their passes, reduce every pass, or are a part of the world."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
import torch.distributed as dist
from attach_runs import Detector, batch, weights
from ranks import run_ranks
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

import agvm_mm
from agvm_mm.parts import AGVMPart, KFACPart

UPDATES, PASSES = 4, 3
MISSED = (2, 1)  # update and pass that rank 1 leaves out
EVERY = dict(interval=1, momentum=0.5)
KFAC = dict(statistics_interval=1, inverse_interval=1, damping=0.1)


def _train(
    rank: int,
    options: dict[str, Any],
    missed: tuple[int, int] | None = None,
    sync: bool = False,
    group: dist.ProcessGroup | None = None,
) -> tuple[agvm_mm.Handle, DistributedDataParallel]:
    model = DistributedDataParallel(Detector(), process_group=group)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    handle = agvm_mm.attach(model, optimizer, accumulation=PASSES, **options)
    for update in range(UPDATES):
        optimizer.zero_grad()
        for k in range(PASSES):
            if rank == 1 and (update, k) == missed:
                continue
            with nullcontext() if sync or k + 1 == PASSES else model.no_sync():
                (model(*batch(rank, PASSES * update + k)) / PASSES).backward()
        optimizer.step()
    return handle, model


def _misses_a_pass(rank: int, options: dict[str, Any]) -> tuple[list[float], Tensor]:
    """The number of estimates or measurements, and the weights."""
    handle, model = _train(rank, options, MISSED)
    agvm, kfac = handle.part(AGVMPart), handle.part(KFACPart)
    found = [] if agvm is None else [float(agvm.state.estimates[0]), float(agvm.skipped)]
    if kfac is not None:
        clocks = [layer.clock.next for layer in kfac.preconditioner.layers]
        found += [float(max(clocks)), float(kfac.preconditioner.skipped)]
    return found, weights(model)


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        (dict(agvm=EVERY), [UPDATES - 1, 0]),
        (dict(agvm=dict(EVERY, estimator='half_split')), [UPDATES - 1, 0]),
        (dict(agvm=None, kfac=KFAC), [UPDATES, 0]),
        (dict(agvm=None, kfac=dict(KFAC, half=True)), [UPDATES, 0]),
        (
            dict(agvm=dict(EVERY, estimator='half_split', precondition='kfac'), kfac=KFAC),
            [UPDATES - 2, 0, UPDATES, 0],  # the first update precedes the first inverse
        ),
    ],
    ids=['all_pairs', 'half_split', 'kfac', 'half', 'both'],
)
def test_an_update_in_which_one_rank_misses_a_pass_is_measured_on_none(
    options: dict[str, Any], expected: list[float]
) -> None:
    """As with micro-batches without a target, which DDP allows before the last one."""
    (first, ends), (second, others) = run_ranks(_misses_a_pass, 2, options)
    assert first == second == expected and torch.equal(ends, others)


def _state(rank: int, sync: bool) -> dict[str, Any]:
    handle, _ = _train(rank, dict(agvm=dict(EVERY, estimator='half_split')), sync=sync)
    state: dict[str, Any] = handle.state_dict()['agvm']['modules']
    return state


def test_a_loop_that_reduces_every_pass_is_measured_as_one_that_reduces_the_last() -> None:
    seldom, always = (run_ranks(_state, 2, sync)[0] for sync in (False, True))
    for name, module in seldom.items():
        assert always[name] == pytest.approx(module, rel=1e-9)


def _in_a_group(rank: int, options: dict[str, Any]) -> tuple[dict[str, Any], Tensor]:
    """Two trainings in one world, each of half of the ranks."""
    half = dist.get_world_size() // 2
    groups = [dist.new_group(list(range(half))), dist.new_group(list(range(half, 2 * half)))]
    _train(rank % half, options, group=groups[rank // half])  # the second must find its groups too
    handle, model = _train(rank % half, options, group=groups[rank // half])
    return handle.state_dict()['agvm']['modules'], weights(model)


def _alone(rank: int, options: dict[str, Any]) -> tuple[dict[str, Any], Tensor]:
    handle, model = _train(rank, options)
    return handle.state_dict()['agvm']['modules'], weights(model)


@pytest.mark.parametrize(
    ('ranks', 'options'),
    [
        (2, dict(agvm=EVERY, kfac=KFAC)),
        pytest.param(4, dict(agvm=dict(EVERY, estimator='half_split')), marks=pytest.mark.slow),
    ],
    ids=['kfac', 'half_split'],
)
def test_ranks_that_are_a_part_of_the_world(ranks: int, options: dict[str, Any]) -> None:
    """They train as if they were all; half_split opens a group from four ranks on."""
    expected = run_ranks(_alone, ranks, options)
    for i, (state, end) in enumerate(run_ranks(_in_a_group, 2 * ranks, options, timeout=100)):
        assert state == expected[i % ranks][0] and torch.equal(end, expected[i % ranks][1])
