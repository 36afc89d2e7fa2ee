"""Measure what an update of every method costs on one device beside SGD's, in one run."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from mmengine.optim import build_optim_wrapper

import agvm_mm  # noqa: F401  registers the wrappers
from agvm_runs.errors import exit_with_sentence
from agvm_runs.markdown import markdown_table
from agvm_runs.work_dir import write_own

from .cost.host_reads import count_host_reads
from .cost.models import add_model, build_batch, build_model, check_model_and_rounds

FORMAT = 'agvm_mm device cost 1'
PLAIN = 'SGD'
PASSES = 2  # of an update: the sample gradients of one process
SGD = dict(type='SGD', lr=1e-9, momentum=0.9)
INTERVAL = 10
KFAC = dict(statistics_interval=INTERVAL, inverse_interval=100, growing_intervals=False)
# The optimizer wrapper of every arm, and the updates that are timed: 0 measures, 1 does not.
ARMS: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    PLAIN: (dict(agvm=None, optimizer=SGD), (1,)),
    'all_pairs': (dict(agvm=dict(interval=INTERVAL), optimizer=SGD), (0, 1)),
    'half_split': (
        dict(agvm=dict(interval=INTERVAL, estimator='half_split'), optimizer=SGD),
        (0, 1),
    ),
    'K-FAC': (dict(agvm=None, kfac=KFAC, optimizer=SGD), (0, 1)),
    'Muon': (
        dict(
            agvm=None,
            optimizer=dict(type='MuonOptimizer', lr=1e-9),
            constructor='MuonOptimWrapperConstructor',
        ),
        (1,),
    ),
}


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_model(parser)
    parser.add_argument('--rounds', type=int, default=10, help='of which each times every arm')
    parser.add_argument('--amp', action='store_true', help='train in float16, on a GPU alone')
    parser.add_argument('--out', type=Path, help='JSON file for all numbers')
    return parser.parse_args()


def main() -> None:
    """Run it."""
    args = parse_args()
    check_model_and_rounds(args, FORMAT)
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    updates = {
        (arm, number): update
        for arm, (config, numbers) in ARMS.items()
        for update in [_update(args, config, device)]
        for number in numbers
    }
    rows = _measure(updates, args.rounds, device)
    machine = torch.cuda.get_device_name() if device.type == 'cuda' else 'CPU'
    print(
        f'{args.model}, {args.images} images of {args.size} x {args.size} in each of {PASSES} '
        f'passes, {"float16" if args.amp else "float32"}, {machine}, torch {torch.__version__}'
    )
    header = ['arm', 'update', 'ms', '/ SGD', 'peak MiB', 'host reads']
    print(markdown_table(header, [[str(row[key]) for key in header] for row in rows]), flush=True)
    if args.out is not None:
        options = {key: str(value) for key, value in vars(args).items()}
        content = dict(format=FORMAT, machine=machine, options=options, rows=rows)
        write_own(args.out, json.dumps(content, indent=1), FORMAT)


def _update(
    args: argparse.Namespace, config: dict[str, Any], device: torch.device
) -> Callable[[int], None]:
    """A function that makes an update: 0 one that measures, 1 one after it that does not."""
    model: Any = build_model(args.model).to(device)
    kind = 'AGVMAmpOptimWrapper' if args.amp else 'AGVMOptimWrapper'
    wrapper: Any = build_optim_wrapper(model, dict(type=kind, accumulative_counts=PASSES, **config))
    wrapper.initialize_count_status(model, 0, -1)
    batches = [build_batch((index,), args.images, args.size) for index in range(PASSES)]

    measured = 0

    def update(number: int) -> None:
        nonlocal measured
        if number == 0:
            measured += INTERVAL  # K-FAC's clocks count from the last measurement
        wrapper._held.go_on_from(measured + number)
        for index, batch in enumerate(batches):
            torch.manual_seed(index)  # the sampling of proposals
            model.train_step({key: list(value) for key, value in batch.items()}, wrapper)

    return update


def _measure(
    updates: dict[tuple[str, int], Callable[[int], None]], rounds: int, device: torch.device
) -> list[dict[str, Any]]:
    for (_, number), update in updates.items():
        update(0)
        update(number)
    seconds: dict[tuple[str, int], list[float]] = {case: [] for case in updates}
    for _ in range(rounds):
        for case, update in updates.items():
            _synchronize(device)
            start = time.perf_counter()
            update(case[1])
            _synchronize(device)
            seconds[case].append(time.perf_counter() - start)
    plain = median(seconds[PLAIN, 1])
    rows = []
    for (arm, number), update in updates.items():
        if device.type == 'cuda':
            torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated() if device.type == 'cuda' else 0
        update(number)
        peak = torch.cuda.max_memory_allocated() - before if device.type == 'cuda' else 0
        with count_host_reads(device) as reads:
            update(number)
        typical = median(seconds[arm, number])
        rows.append(
            {
                'arm': arm,
                'update': 'other' if number else 'measuring',
                'ms': round(1e3 * typical, 2),
                '/ SGD': round(typical / plain, 3),
                'peak MiB': round(peak / 2**20, 1),
                'host reads': reads.transfers,
                'seconds': seconds[arm, number],
            }
        )
    return rows


def _synchronize(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize()


if __name__ == '__main__':
    with exit_with_sentence():
        main()
