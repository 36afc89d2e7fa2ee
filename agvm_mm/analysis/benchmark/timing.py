"""Step times of all cases in turn, as ratios to plain DDP's step of the same round."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

import numpy as np
import torch.distributed as dist
from numpy.typing import NDArray

from .arms import PLAIN, Case
from .workbench import Workbench

Key = tuple[str, bool]


@dataclass(frozen=True)
class Ratio:
    """Step time over plain DDP's, round by round.

    Args:
        median: of the ratios.
        low: first quartile.
        high: third quartile.
        seconds: median step time.
        rounds: how many.
    """

    median: float
    low: float
    high: float
    seconds: float
    rounds: int


def time_cases(bench: Workbench, repeats: int, warmup: int) -> dict[Key, Ratio]:
    """Rounds over all cases, each round beginning with another one: A B C, B C A, ..."""
    seconds: dict[Key, list[float]] = {_key(case): [] for case in bench.cases}
    for number in range(-warmup, repeats):
        first = number % len(bench.cases)
        for case in bench.cases[first:] + bench.cases[:first]:
            elapsed = _time(bench, case)
            if number >= 0:
                seconds[_key(case)].append(elapsed)
        if dist.get_rank() == 0:
            print(f'round {number + 1} of {repeats}', file=sys.stderr, flush=True)
    plain = np.array(seconds[PLAIN, False])
    return {key: _ratio(np.array(values), plain) for key, values in seconds.items()}


def _key(case: Case) -> Key:
    return case.arm, case.estimating


def _time(bench: Workbench, case: Case) -> float:
    """Seconds until the slowest rank is through."""
    bench.synchronize()
    dist.barrier()
    start = time.perf_counter()
    bench.run(case)
    bench.synchronize()
    dist.barrier()
    return time.perf_counter() - start


def _ratio(seconds: NDArray[np.float64], plain: NDArray[np.float64]) -> Ratio:
    low, median, high = np.percentile(seconds / plain, (25, 50, 75))
    return Ratio(float(median), float(low), float(high), float(np.median(seconds)), len(seconds))
