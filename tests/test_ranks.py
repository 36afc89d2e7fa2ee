"""The multi-process helper must not swallow what goes wrong in a rank."""

import os
import time

import pytest
import torch
import torch.distributed as dist
from ranks import RankError, run_ranks


def _sum_of_ranks(rank):
    tensor = torch.tensor([float(rank)])
    dist.all_reduce(tensor)
    return tensor.item()


def test_results_come_in_rank_order_after_a_real_collective():
    assert run_ranks(_sum_of_ranks, 3) == [3.0, 3.0, 3.0]
    assert run_ranks(lambda rank: rank * 10, 2) == [0, 10]


def test_an_exception_on_one_rank_is_raised_with_its_traceback():
    def fail(rank):
        if rank == 1:
            raise ValueError('only here')

    with pytest.raises(RankError, match='rank 1 raised(.|\n)*only here'):
        run_ranks(fail, 2)


def test_a_dead_rank_is_reported():
    def die(rank):
        if rank == 0:
            os._exit(7)
        time.sleep(1)  # or its own complaint about the dead peer might be read first

    with pytest.raises(RankError, match='rank 0 died with exit code 7'):
        run_ranks(die, 2)


def test_a_hanging_rank_is_reported():
    with pytest.raises(RankError, match='did not answer'):
        run_ranks(lambda rank: time.sleep(30), 1, timeout=1)
