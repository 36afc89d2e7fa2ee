"""Groups that we make: whose collectives may overlap, and how long they wait."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import pytest
import torch
import torch.distributed as dist
from ranks import run_ranks
from torch_versions import since_2_2

from agvm_mm import compat
from agvm_mm.distributed import ProcessGroupCommunicator


@pytest.mark.parametrize(
    ('config', 'concurrent'),
    [
        ('gloo', True),
        ('cpu:gloo,cuda:gloo', True),
        ('cpu:gloo,cuda:nccl', False),
        ('nccl', False),
        ('mpi', False),
        ('undefined', False),
    ],
)
def test_only_groups_of_gloo_alone_overlap(
    config: str, concurrent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dist.distributed_c10d, 'get_backend_config', lambda group: config)
    group: Any = object()
    assert compat.overlaps(group) is concurrent


def _without_a_backend(rank: int) -> tuple[str, bool]:
    """As ``init_process_group()`` makes it: the library says 'undefined' of its backend."""
    dist.destroy_process_group()
    store = dist.FileStore(f'{os.environ["AGVM_TEST_STORE"]}', 2)
    dist.init_process_group(store=store, rank=rank, world_size=2)
    group = dist.group.WORLD
    return str(dist.get_backend(group)), ProcessGroupCommunicator(group).concurrent


@since_2_2  # which makes no NCCL group where there is no GPU
def test_a_group_made_without_a_backend(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU its backends are those of gloo."""
    monkeypatch.setenv('AGVM_TEST_STORE', str(tmp_path / 'store'))
    for name, concurrent in run_ranks(_without_a_backend, 2):
        assert name == 'undefined' and concurrent is not torch.cuda.is_available()


LIMIT = timedelta(seconds=67)


def _limits(rank: int) -> list[timedelta]:
    """How long the groups wait for a rank that does not come, as gloo has it."""
    data_parallel = dist.new_group([0, 1, 2, 3], timeout=LIMIT)
    assert data_parallel is not None
    communicator = ProcessGroupCommunicator(data_parallel, halves=True)
    groups = [data_parallel, communicator.beside()._group]
    if communicator.in_first_half():
        groups.append(communicator._half)
    return [group._get_backend(torch.device('cpu')).options._timeout for group in groups]


def test_groups_of_ours_wait_as_long_as_the_data_parallel_one() -> None:
    """The library would give them half an hour, whatever dist_cfg.timeout says."""
    assert run_ranks(_limits, 4) == [[LIMIT] * 3, [LIMIT] * 3, [LIMIT] * 2, [LIMIT] * 2]


def _groups(rank: int, overlaps: bool) -> tuple[bool, float]:
    real, compat.overlaps = compat.overlaps, lambda group: overlaps
    try:
        communicator = ProcessGroupCommunicator(dist.group.WORLD)
        beside = communicator.beside()
    finally:
        compat.overlaps = real
    return beside._group is communicator._group, float(beside.all_reduce_sum(torch.ones(1)))


@pytest.mark.parametrize('overlaps', [True, False])
def test_a_group_of_its_own_only_where_collectives_overlap(overlaps: bool) -> None:
    assert run_ranks(_groups, 2, overlaps) == [(not overlaps, 2.0)] * 2
