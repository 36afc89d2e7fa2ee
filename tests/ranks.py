"""Run a function on several real gloo ranks and get every rank's result or traceback."""

from __future__ import annotations

import io
import multiprocessing
import os
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from typing import Any

import pytest
import torch
import torch.distributed as dist

LIMIT = 240.0
"""Seconds for all ranks together: only ranks that hang take so long, also on a busy machine."""
COLLECTIVE_LIMIT = timedelta(seconds=180)
"""For one collective; shorter, so that the rank that waits can say for what."""
PATIENCE = 1.0
"""Seconds that the other ranks have to fail too, once one has."""
LOST = re.compile('Connection (closed|reset) by peer|Broken pipe|Timed out waiting')
"""What gloo says of a peer that has gone: a consequence, not the cause."""


class RankError(AssertionError):
    """A rank raised, died or hung."""


def run_ranks(
    function: Callable[..., Any],
    size: int,
    *args: Any,
    timeout: float = LIMIT,
    backend: str = 'gloo',
    start: str = 'fork',
) -> list[Any]:
    """``[function(rank, *args) for rank in range(size)]``, each in its own process.

    Where no rank fails, one that skips skips the test.

    Args:
        function: of a module, if it is to be sent to another process.
        size: number of ranks.
        *args: after the rank.
        timeout: seconds.
        backend: of the process group.
        start: method of multiprocessing; ranks that use a GPU cannot be forked from a user of it.

    Raises:
        RankError: with the tracebacks of all ranks that failed, those that only lost a peer last,
            or the ranks that hung.
    """
    context = multiprocessing.get_context(start)
    with tempfile.TemporaryDirectory() as folder:
        pipes = [context.Pipe(duplex=False) for _ in range(size)]
        ranks = [
            context.Process(target=_main, args=(function, rank, folder, pipes, backend, args))
            for rank in range(size)
        ]
        for process in ranks:
            process.start()
        for _, sender in pipes:
            sender.close()
        try:
            return _collect(ranks, [receiver for receiver, _ in pipes], timeout)
        finally:
            for process in ranks:
                process.kill()
                process.join()


def _main(
    function: Callable[..., Any],
    rank: int,
    folder: str,
    pipes: list[tuple[Connection, Connection]],
    backend: str,
    args: Any,
) -> None:
    size, pipe = len(pipes), pipes[rank][1]
    for _, sender in pipes:
        if sender is not pipe:
            sender.close()  # or a rank that dies would not be noticed while another lives
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(size), LOCAL_RANK=str(rank))
    try:
        dist.init_process_group(
            backend,
            init_method=f'file://{folder}/store',
            rank=rank,
            world_size=size,
            timeout=COLLECTIVE_LIMIT,
        )
        # One that ends the group at once would end it for those who are still connecting.
        dist.barrier()
        buffer = io.BytesIO()
        torch.save(('result', function(rank, *args)), buffer)
        dist.barrier()
        code = 0
    except pytest.skip.Exception as skipped:
        buffer = io.BytesIO()
        torch.save(('skip', str(skipped)), buffer)
        code = 0
    except BaseException:
        buffer = io.BytesIO()
        torch.save(('error', traceback.format_exc()), buffer)
        code = 1
    pipe.send_bytes(buffer.getvalue())
    pipe.close()
    sys.stdout.flush()
    os._exit(code)  # no interpreter shutdown: the parent's fixtures and threads are not ours


def _collect(ranks: list[Any], pipes: list[Connection], timeout: float) -> list[Any]:
    deadline = time.monotonic() + timeout
    results: list[Any] = [None] * len(ranks)
    errors: list[str] = []
    skips: list[str] = []
    rank_of = {pipe: rank for rank, pipe in enumerate(pipes)}
    while rank_of and (left := deadline - time.monotonic()) > 0:
        for pipe in wait(list(rank_of), left):
            rank = rank_of.pop(pipe)
            kind, value = _receive(rank, ranks[rank], pipe)
            if kind == 'result':
                results[rank] = value
                continue
            if kind == 'skip':
                skips.append(value)
                continue
            if not errors:  # what the others say may be the cause
                deadline = min(deadline, time.monotonic() + PATIENCE)
            errors.append(value)
    if errors:
        raise RankError('\n'.join(sorted(errors, key=lambda text: bool(LOST.search(text)))))
    if rank_of:
        raise RankError(f'ranks {sorted(rank_of.values())} did not answer within {timeout} s')
    for rank, process in enumerate(ranks):
        process.join(max(0.1, deadline - time.monotonic()))
        if process.exitcode != 0:
            raise RankError(f'rank {rank} ended with exit code {process.exitcode}')
    if skips:
        pytest.skip(skips[0])
    return results


def _receive(rank: int, process: Any, pipe: Connection) -> tuple[str, Any]:
    try:
        kind, value = torch.load(io.BytesIO(pipe.recv_bytes()), weights_only=False)
    except EOFError:
        process.join(5)
        return 'error', f'rank {rank} died with exit code {process.exitcode}'
    return kind, f'rank {rank} raised\n{value}' if kind == 'error' else value
