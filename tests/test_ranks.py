"""The multi-process helper must not swallow what goes wrong in a rank."""

import os
import time

import pytest
import ranks
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


def test_no_rank_begins_before_all_have_met(monkeypatch):
    meet, met = dist.init_process_group, []

    def meet_late(*args, rank, **options):
        meet(*args, rank=rank, **options)
        time.sleep(0.5 * rank)
        met.append(time.monotonic())

    monkeypatch.setattr(ranks.dist, 'init_process_group', meet_late)
    (began, _), (_, last_met) = run_ranks(lambda rank: (time.monotonic(), met[0]), 2)
    assert began > last_met


def test_an_exception_on_one_rank_is_raised_with_its_traceback():
    def fail(rank):
        if rank == 1:
            raise ValueError('only here')

    with pytest.raises(RankError, match='rank 1 raised(.|\n)*only here'):
        run_ranks(fail, 2)


def test_a_rank_that_skips_skips_the_test_and_hides_no_failure():
    def skip(rank):
        pytest.skip('not here')

    def fail_on_one(rank):
        if rank == 1:
            raise ValueError('only here')
        pytest.skip('not here')

    with pytest.raises(pytest.skip.Exception, match='not here'):
        run_ranks(skip, 2)
    with pytest.raises(RankError, match='only here'):
        run_ranks(fail_on_one, 2)


def test_a_dead_rank_is_reported():
    def die(rank):
        if rank == 0:
            os._exit(7)

    with pytest.raises(RankError, match='^rank 0 died with exit code 7'):
        run_ranks(die, 2)


@pytest.fixture
def patient(monkeypatch):
    """All ranks are heard, also on a machine with much else to do."""
    monkeypatch.setattr(ranks, 'PATIENCE', 30.0)


@pytest.mark.usefixtures('patient')
def test_the_cause_comes_before_the_complaints_of_those_who_lost_a_peer():
    """Rank 0 waits for rank 1 and is the first to speak; rank 2 fails by itself too."""

    def fail(rank):
        if rank == 0:
            raise RuntimeError('[pair.cc:547] Connection closed by peer [127.0.0.1]:4711')
        time.sleep(0.2)
        raise ValueError(f'the cause on rank {rank}')

    with pytest.raises(RankError) as caught:
        run_ranks(fail, 3)
    heads = [line for line in str(caught.value).splitlines() if line.endswith(' raised')]
    assert heads[2] == 'rank 0 raised' and set(heads[:2]) == {'rank 1 raised', 'rank 2 raised'}
    assert 'the cause on rank 1' in str(caught.value) and 'on rank 2' in str(caught.value)


@pytest.mark.usefixtures('patient')
def test_a_peer_that_is_really_lost_is_named_last():
    def fail(rank):
        if rank == 1:
            raise ValueError('only here')
        dist.barrier()

    for _ in range(3):
        with pytest.raises(RankError, match='^rank 1 raised(.|\n)*only here(.|\n)*rank 0 raised'):
            run_ranks(fail, 2)


def test_a_rank_that_hangs_does_not_hide_the_error_of_another():
    def fail(rank):
        if rank == 1:
            raise ValueError('only here')
        time.sleep(1000)

    begin = time.monotonic()
    with pytest.raises(RankError, match='^rank 1 raised(.|\n)*only here'):
        run_ranks(fail, 2, timeout=200)
    assert time.monotonic() - begin < 100


def test_a_hanging_rank_is_reported():
    with pytest.raises(RankError, match='did not answer'):
        run_ranks(lambda rank: time.sleep(1000), 1, timeout=1)
