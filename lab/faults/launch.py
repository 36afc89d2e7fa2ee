"""Starts the ranks of a long run, kills them and starts them again."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from .plan import Options, draw_plan

WAIT = 0.02  # seconds between two looks at how far the run is
PATIENCE = 2.0  # seconds that the other ranks have to fail too, once one has
TAIL = 3000  # characters of a failed rank's output

Records = list[list[dict[str, Any]]]
"""Of every rank, what it has written down, as :func:`.rank.observe` gives it."""


class SoakError(RuntimeError):
    """A rank ended by itself before the run did, or none can be started."""


def run(work_dir: Path, options: Options, kill: bool = True) -> tuple[Records, list[int]]:
    """Make the run from its start to its end.

    Args:
        work_dir: of the run, new or empty.
        options: of the run.
        kill: False to leave out the kills of the plan, not its other faults.

    Returns:
        The records, and the updates that were made when the ranks were killed.

    Raises:
        SoakError: a rank failed, or torch is too old.
        ValueError: the folder has something in it.
    """
    if not hasattr(torch.amp, 'GradScaler'):
        raise SoakError(
            f'torch is {torch.__version__}; allowed is 2.3 or later, which has the loss scaler for '
            'the CPU that passes over a NaN gradient.'
        )
    work_dir.mkdir(parents=True, exist_ok=True)
    if any(work_dir.iterdir()):
        raise ValueError(f'{work_dir} is not empty; give a new folder, the run begins anew.')
    kills = draw_plan(options).kills if kill else ()
    killed = []
    for life in range(len(kills) + 1):
        store = _store()
        ranks = [_start(work_dir, life, options, rank, store.port) for rank in range(options.ranks)]
        try:
            if life < len(kills):
                killed.append(_wait_for(work_dir, ranks, life, kills[life]))
            else:
                _wait_for_end(work_dir, ranks)
        finally:
            for process in ranks:
                process.kill()
                process.wait()
            # An exception keeps this frame; a process that is forked later would end the store's
            # thread, which it does not have.
            del store
    return [_read(work_dir / f'rank{rank}.jsonl') for rank in range(options.ranks)], killed


def _start(
    work_dir: Path, life: int, options: Options, rank: int, port: int
) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        'RANK': str(rank),
        'LOCAL_RANK': str(rank),
        'WORLD_SIZE': str(options.ranks),
        'MASTER_ADDR': '127.0.0.1',
        'MASTER_PORT': str(port),
        'TORCHELASTIC_USE_AGENT_STORE': 'True',  # no rank serves
        'TORCHELASTIC_RESTART_COUNT': '0',
        'OMP_NUM_THREADS': '1',
        'CUDA_VISIBLE_DEVICES': '',
    }
    command = [sys.executable, '-m', 'lab.faults.rank', str(work_dir), str(life)]
    with _log(work_dir, rank).open('ab') as log:
        return subprocess.Popen(
            [*command, json.dumps(vars(options))],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def _wait_for(
    work_dir: Path, ranks: Sequence[subprocess.Popen[bytes]], life: int, update: int
) -> int:
    """Updates made, as soon as they are ``update`` or more."""
    while True:
        _require_alive(work_dir, ranks)
        now = _progress(work_dir / 'rank0.update')
        if now[0] == life and now[1] >= update:
            return now[1]
        time.sleep(WAIT)


def _wait_for_end(work_dir: Path, ranks: Sequence[subprocess.Popen[bytes]]) -> None:
    while any(process.poll() is None for process in ranks):
        _require_alive(work_dir, ranks)
        time.sleep(WAIT)
    _require_alive(work_dir, ranks)


def _require_alive(work_dir: Path, ranks: Sequence[subprocess.Popen[bytes]]) -> None:
    """Name all ranks that have failed: the first one seen may only have lost its peer."""
    if not _failed(ranks):
        return
    deadline = time.monotonic() + PATIENCE
    while any(process.poll() is None for process in ranks) and time.monotonic() < deadline:
        time.sleep(WAIT)
    reports = []
    for rank, code in _failed(ranks).items():
        output = _log(work_dir, rank).read_text(errors='replace')[-TAIL:]
        reports.append(f'rank {rank} ended with {code}:\n{output}')
    raise SoakError('\n'.join(reports))


def _failed(ranks: Sequence[subprocess.Popen[bytes]]) -> dict[int, int]:
    """Exit code of every rank that has failed."""
    return {rank: code for rank, process in enumerate(ranks) if (code := process.poll())}


def _progress(path: Path) -> tuple[int, int]:
    """Life and updates made; (-1, -1) before the first and while the file is being written."""
    words = path.read_text().split() if path.is_file() else []
    return (int(words[0]), int(words[1])) if len(words) == 2 else (-1, -1)


def _read(path: Path) -> list[dict[str, Any]]:
    """The records; one that a kill has cut off is made again in the next life."""
    records = []
    for line in path.read_text().splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records


def _log(work_dir: Path, rank: int) -> Path:
    return work_dir / f'rank{rank}.log'


def _store() -> Any:
    """Where the ranks meet, on the loopback; served from here, so that nobody takes the port."""
    listening = socket.create_server(('127.0.0.1', 0))
    port = listening.getsockname()[1]
    store: Any = dist.TCPStore  # type: ignore[attr-defined]
    return store(
        '127.0.0.1',
        port,
        is_master=True,
        wait_for_workers=False,
        master_listen_fd=listening.detach(),
    )
