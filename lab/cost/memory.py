"""Peak memory of a step, from the allocator's own records."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.profiler import profile


@dataclass
class Peak:
    """Bytes above what was allocated at the start."""

    bytes: int = 0


@contextmanager
def measure_peak(device: torch.device) -> Iterator[Peak]:
    """The peak inside the context.

    On a GPU it is the caching allocator's statistic. On a CPU the profiler's allocation records are
    added up; buffers that a communication library takes by itself are in neither.
    """
    peak = Peak()
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        start = torch.cuda.memory_allocated(device)
        yield peak
        torch.cuda.synchronize(device)
        peak.bytes = torch.cuda.max_memory_allocated(device) - start
        return
    with profile(profile_memory=True) as records:
        yield peak
    peak.bytes = _highest(records)


def _highest(records: profile) -> int:
    results: Any = records.kineto_results
    changes = sorted(
        (_start(event), event.nbytes()) for event in results.events() if event.name() == '[memory]'
    )
    level = highest = 0
    for _, change in changes:
        level += change
        highest = max(highest, level)
    return highest


def _start(event: Any) -> int:
    """When a record was made, in a unit of its own: torch counts nanoseconds since 2.2."""
    start: int = event.start_ns() if hasattr(event, 'start_ns') else event.start_us()
    return start
