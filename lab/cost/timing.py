"""Times of all cases' steps in turn, as ratios to plain DDP's step of the same round."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from .arms import PLAIN, Case
from .workbench import Workbench

Key = tuple[str, bool]


@dataclass(frozen=True)
class Ratio:
    """A time over plain DDP's, round by round.

    Args:
        median: of the ratios.
        low: first quartile.
        high: third quartile.
        seconds: median, not a ratio.
        rounds: how many.
    """

    median: float
    low: float
    high: float
    seconds: float
    rounds: int


@dataclass(frozen=True)
class Cost:
    """What one step takes.

    Args:
        time: until the slowest rank is through.
        cpu: of all ranks' threads together; waiting costs none, so that it hardly depends on what
            else the machine does.
    """

    time: Ratio
    cpu: Ratio


def cpu_seconds(call: Callable[[], object]) -> float:
    """Of all threads, which a busy machine changes less than the clock on the wall."""
    start = time.process_time()
    call()
    return time.process_time() - start


def time_cases(bench: Workbench, repeats: int, warmup: int) -> dict[Key, Cost]:
    """Rounds over all cases, each round beginning with another one: A B C, B C A, ..."""
    seconds: dict[Key, list[list[float]]] = {_key(case): [] for case in bench.cases}
    for number in range(-warmup, repeats):
        first = number % len(bench.cases)
        for case in bench.cases[first:] + bench.cases[:first]:
            elapsed = _time(bench, case)
            if number >= 0:
                seconds[_key(case)].append(elapsed)
        if dist.get_rank() == 0:
            print(f'round {number + 1} of {repeats}', file=sys.stderr, flush=True)
    plain = np.array(seconds[PLAIN, False])
    return {key: _cost(np.array(values), plain) for key, values in seconds.items()}


def _key(case: Case) -> Key:
    return case.arm, case.estimating


def _time(bench: Workbench, case: Case) -> list[float]:
    """Seconds until the slowest rank is through, and CPU seconds of all ranks."""
    bench.synchronize()
    dist.barrier()
    start, cpu_start = time.perf_counter(), time.process_time()
    bench.run(case)
    bench.synchronize()
    spent = time.process_time() - cpu_start
    dist.barrier()
    elapsed = time.perf_counter() - start
    cpu = torch.tensor(spent, dtype=torch.float64, device=bench.device)
    dist.all_reduce(cpu)
    return [elapsed, float(cpu)]


def _cost(seconds: NDArray[np.float64], plain: NDArray[np.float64]) -> Cost:
    return Cost(*(_ratio(seconds[:, one], plain[:, one]) for one in (0, 1)))


def _ratio(seconds: NDArray[np.float64], plain: NDArray[np.float64]) -> Ratio:
    low, median, high = np.percentile(seconds / plain, (25, 50, 75))
    return Ratio(float(median), float(low), float(high), float(np.median(seconds)), len(seconds))
