"""Run a function on several real gloo ranks and get every rank's result or traceback."""

from __future__ import annotations

import io
import multiprocessing
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import Any

import torch
import torch.distributed as dist


class RankError(AssertionError):
    """A rank raised, died or hung."""


def run_ranks(
    function: Callable[..., Any], size: int, *args: Any, timeout: float = 120
) -> list[Any]:
    """``[function(rank, *args) for rank in range(size)]``, each in its own process.

    Raises:
        RankError: with the traceback of the first rank that failed, or the rank that hung.
    """
    context = multiprocessing.get_context('fork')
    with tempfile.TemporaryDirectory() as folder:
        pipes = [context.Pipe(duplex=False) for _ in range(size)]
        ranks = [
            context.Process(target=_main, args=(function, rank, folder, pipes, args))
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
    args: Any,
) -> None:
    size, pipe = len(pipes), pipes[rank][1]
    for _, sender in pipes:
        if sender is not pipe:
            sender.close()  # or a rank that dies would not be noticed while another lives
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(size), LOCAL_RANK=str(rank))
    try:
        dist.init_process_group(
            'gloo',
            init_method=f'file://{folder}/store',
            rank=rank,
            world_size=size,
            timeout=timedelta(seconds=60),
        )
        buffer = io.BytesIO()
        torch.save(('result', function(rank, *args)), buffer)
        dist.barrier()
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
    waiting = set(range(len(ranks)))
    while waiting:
        for rank in sorted(waiting):
            if pipes[rank].poll(0.01):
                results[rank] = _receive(rank, ranks[rank], pipes[rank])
                waiting.discard(rank)
        if time.monotonic() > deadline:
            raise RankError(f'ranks {sorted(waiting)} did not answer within {timeout} s')
    for rank, process in enumerate(ranks):
        process.join(max(0.1, deadline - time.monotonic()))
        if process.exitcode != 0:
            raise RankError(f'rank {rank} ended with exit code {process.exitcode}')
    return results


def _receive(rank: int, process: Any, pipe: Connection) -> Any:
    try:
        kind, value = torch.load(io.BytesIO(pipe.recv_bytes()), weights_only=False)
    except EOFError:
        process.join(5)
        raise RankError(f'rank {rank} died with exit code {process.exitcode}') from None
    if kind == 'error':
        raise RankError(f'rank {rank} raised\n{value}')
    return value
