"""What is exact: traffic, peak memory, reads by the host, and the gradient itself."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from .arms import Case
from .host_reads import count_host_reads
from .memory import measure_peak
from .timing import Key
from .wire import count_traffic
from .workbench import Workbench


@dataclass(frozen=True)
class Count:
    """One step of one case.

    Args:
        bytes: handed to collectives, mean over the ranks.
        collectives: calls, mean over the ranks.
        peak: highest memory above that before the step, bytes, of the rank that needs most.
        transfers: see :class:`lab.cost.host_reads.HostReads`; rank 0.
        scalars: likewise.
        bitwise: whether the gradient is plain DDP's to the last bit on all ranks.
    """

    bytes: float
    collectives: float
    peak: int
    transfers: int
    scalars: int
    bitwise: bool


def count_cases(bench: Workbench) -> dict[Key, Count]:
    """Every case once with each instrument, after a round that settles buckets and buffers."""
    for case in bench.cases:
        bench.run(case)
    bench.run(bench.cases[0])
    plain = bench.gradient()
    return {(case.arm, case.estimating): _count(bench, case, plain) for case in bench.cases}


def _count(bench: Workbench, case: Case, plain: list[Tensor]) -> Count:
    with count_traffic() as traffic:
        bench.run(case)
    same = all(torch.equal(a, b) for a, b in zip(bench.gradient(), plain))
    with measure_peak(bench.device) as peak:
        bench.run(case)
    with count_host_reads(bench.device) as reads:
        bench.run(case)
    here = (traffic.bytes, traffic.calls, peak.bytes, reads.transfers, reads.scalars, same)
    ranks: list[tuple[int, int, int, int, int, bool]] = [here] * dist.get_world_size()
    dist.all_gather_object(ranks, here)
    bytes_, calls, peaks, transfers, scalars, bitwise = zip(*ranks)
    return Count(
        sum(bytes_) / len(ranks),
        sum(calls) / len(ranks),
        max(peaks),
        transfers[0],
        scalars[0],
        all(bitwise),
    )
