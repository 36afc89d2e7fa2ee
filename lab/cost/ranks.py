"""One benchmark: the ranks are started, counted and timed, rank 0 reports."""

from __future__ import annotations

import json
import logging
import os
import platform
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
from mmengine.logging import MMLogger
from torch.multiprocessing.spawn import spawn

from agvm_runs.work_dir import require_own, write_own

from .counting import count_cases
from .report import numbers, table
from .timing import time_cases
from .workbench import Options, Workbench

FORMAT = 'agvm_mm benchmark 1'


def run(options: Options, out: Path | None = None) -> None:
    """Measure and print; a rank that fails ends the run with its traceback.

    Args:
        options: what to measure.
        out: JSON file for all numbers.

    Raises:
        FileError: something else lies at ``out``.
    """
    if out is not None:
        require_own(out, FORMAT)
    with tempfile.TemporaryDirectory() as folder:
        spawn(_rank, args=(options, f'{folder}/store', out), nprocs=options.ranks)


def backend(options: Options) -> str:
    """NCCL where every rank has a GPU of its own, otherwise gloo."""
    enough = options.device == 'cuda' and torch.cuda.device_count() >= options.ranks
    return 'nccl' if enough else 'gloo'


def _rank(rank: int, options: Options, store: str, out: Path | None) -> None:
    os.environ.update(
        RANK=str(rank), WORLD_SIZE=str(options.ranks), LOCAL_RANK=str(rank), OMP_NUM_THREADS='1'
    )
    torch.set_num_threads(1)
    MMLogger.get_current_instance().setLevel(logging.WARNING)  # five tables of modules
    kind = backend(options)
    dist.init_process_group(
        kind, init_method=f'file://{store}', rank=rank, world_size=options.ranks
    )
    counts = count_cases(Workbench(options, rank, counted=True))
    costs = time_cases(Workbench(options, rank, counted=False), options.repeats, options.warmup)
    if rank == 0:
        machine = f'{_machine(options.device)}, {options.ranks} ranks, {kind}'
        print(
            f'{options.model}, {options.images} images a rank, {machine}, {options.repeats} rounds'
        )
        print(table(costs, counts), flush=True)
        if out is not None:
            content = {'format': FORMAT, **numbers(options, machine, costs, counts)}
            write_own(out, json.dumps(content, indent=1), FORMAT)
    dist.barrier()
    dist.destroy_process_group()


def _machine(device: str) -> str:
    name = torch.cuda.get_device_name() if device == 'cuda' else f'CPU {platform.machine()}'
    return f'{name}, torch {torch.__version__}'
