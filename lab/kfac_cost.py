"""Measure the CPU time of K-FAC's updates beside SGD's, kind by kind, in one run."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from itertools import count
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from agvm_mm.distributed import SingleProcess
from agvm_mm.kfac import KFAC, KFACSettings
from agvm_runs.errors import exit_with_sentence
from agvm_runs.markdown import markdown_table
from agvm_runs.work_dir import write_own

from .cost.models import add_model, build_batch, build_model, check_model_and_rounds, loss_of
from .cost.timing import cpu_seconds

FORMAT = 'agvm_mm K-FAC cost 1'
KINDS = ('other', 'measuring', 'inverting')
INTERVALS = ((10, 100), (5, 10))


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_model(parser)
    parser.add_argument('--rounds', type=int, default=3, help='of which each times every kind')
    parser.add_argument(
        '--kfac',
        type=json.loads,
        nargs='+',
        default=[{}],
        help='options of K-FAC beside the intervals, as JSON; several sets are timed side by side',
    )
    parser.add_argument('--out', type=Path, help='JSON file for all numbers')
    return parser.parse_args()


def main() -> None:
    """Run it."""
    args = parse_args()
    check_model_and_rounds(args, FORMAT)
    plain, *arms = _arms(args)
    for arm in arms:
        arm('inverting')  # the momentum's buffers, the first factors and inverses
    sgd: list[float] = []
    seconds: list[dict[str, list[float]]] = [{kind: [] for kind in KINDS} for _ in arms]
    for _ in range(args.rounds):
        sgd.append(cpu_seconds(lambda: plain('')))
        for kind in KINDS:
            for arm, times in zip(arms, seconds):
                times[kind].append(cpu_seconds(lambda: arm(kind)))  # noqa: B023  called at once
    base = mean(sgd)
    print(
        f'{args.model}, {args.images} images of {args.size} x {args.size}, {args.rounds} rounds, '
        f'SGD {base:.2f} s of CPU time an update; CPU time / SGD:'
    )
    ratios = [{kind: mean(values) / base for kind, values in one.items()} for one in seconds]
    rows = [[kind, *(f'{one[kind]:.2f}' for one in ratios)] for kind in KINDS]
    rows += [
        [f'mean at {s} / {i}', *(f'{_mean(one, s, i):.2f}' for one in ratios)] for s, i in INTERVALS
    ]
    print(markdown_table(['update', *map(json.dumps, args.kfac)], rows))
    if args.out is not None:
        content = dict(format=FORMAT, kfac=args.kfac, sgd=sgd, seconds=seconds)
        write_own(args.out, json.dumps(content, indent=1) + '\n', FORMAT)


def _mean(ratios: dict[str, float], statistics: int, inverses: int) -> float:
    """Of an update with these intervals, relative to SGD's."""
    other, measuring, inverting = (ratios[kind] for kind in KINDS)
    inverted, measured = 1 / inverses, 1 / statistics - 1 / inverses
    return inverting * inverted + measuring * measured + other * (1 - 1 / statistics)


def _arms(args: argparse.Namespace) -> list[Callable[[str], None]]:
    """Make one update each: SGD's own, then for every set of options K-FAC's of a kind."""
    model: Any = build_model(args.model)
    batch = build_batch((0,), args.images, args.size, args.model)
    # So small a rate that the work never changes.
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-9, momentum=0.9, foreach=True)
    rates = {id(parameter): 1e-9 for parameter in model.parameters()}
    place = {'inverting': 0, 'measuring': 2, 'other': 1}  # among four updates
    numbers = count()

    def update(kfac: KFAC | None, kind: str) -> None:
        number = next(n for n in numbers if n % 4 == place.get(kind, 1))
        if kfac is not None:
            kfac.before_update(number)
        optimizer.zero_grad()
        loss = loss_of(model, batch)
        with kfac.around_backward(0, 1, args.images) if kfac is not None else nullcontext():
            loss.backward()
        if kfac is not None:
            assert kfac.step(number, rates) == (kind != 'other')
            for layer in kfac.layers:
                layer.due = False  # its hooks stay on the model
        optimizer.step()

    arms: list[KFAC | None] = [None]
    for options in args.kfac:
        lengths = dict(statistics_interval=2, inverse_interval=4, growing_intervals=False)
        settings = KFACSettings(**{**options, **lengths})
        arms.append(KFAC(model, settings, SingleProcess()))
        for layer in arms[-1].layers:  # type: ignore[union-attr]
            layer.due = False
    return [partial(update, kfac) for kfac in arms]


if __name__ == '__main__':
    with exit_with_sentence():
        main()
