"""Measure what ``attach`` costs beside the same plain loop, in one run."""

from __future__ import annotations

import argparse
import copy
from typing import Any

import numpy as np
from torch.optim import SGD

from agvm_mm import Handle, attach
from agvm_mm.launch.command_line import require_at_least
from agvm_runs.errors import exit_with_sentence
from agvm_runs.markdown import markdown_table

from .cost.models import add_model, build_batch, build_model, loss_of
from .cost.timing import cpu_seconds

COUNTS = 2
PLAIN, AGAIN = 'plain', 'plain, again'
OTHER, ESTIMATING = 'attach, other updates', 'attach, estimating'


class Loop:
    """A model with its optimizer, and with ``attach`` if it has an interval."""

    def __init__(self, model: Any, batch: dict[str, Any], interval: int | None) -> None:
        self.model, self.batch = copy.deepcopy(model), batch
        # A rate so small that the work never changes.
        self.optimizer = SGD(self.model.parameters(), lr=1e-9, momentum=0.9)
        self.handle: Handle | None = None
        if interval is not None:
            settings = dict(interval=interval, begin=interval - 1)
            self.handle = attach(self.model, self.optimizer, accumulation=COUNTS, agvm=settings)

    def update(self) -> None:
        """Train on two batches."""
        self.optimizer.zero_grad()
        for k in range(COUNTS):
            (loss_of(self.model, self.batch, seed=k) / COUNTS).backward()
        self.optimizer.step()


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_model(parser)
    parser.add_argument('--rounds', type=int, default=10, help='of which each times every loop')
    return parser.parse_args()


def main() -> None:
    """Run it."""
    args = parse_args()
    require_at_least(args, {'images': 1, 'size': 32, 'rounds': 2})
    model, batch = build_model(args.model), build_batch((0,), args.images, args.size)
    never = 2 * args.rounds + 10  # the interval of a loop that estimates in no timed update
    loops = {
        PLAIN: Loop(model, batch, None),
        OTHER: Loop(model, batch, never),
        ESTIMATING: Loop(model, batch, 1),
        AGAIN: Loop(model, batch, None),
    }
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for number in range(-1, args.rounds):  # the first is not counted
        names = list(loops)
        first = number % len(names)
        for name in names[first:] + names[:first]:
            elapsed = cpu_seconds(loops[name].update)
            if number >= 0:
                seconds[name].append(elapsed)
    plain = np.array(seconds.pop(PLAIN))
    print(f'{args.model}, {COUNTS} x {args.images} images of {args.size} x {args.size}, '
          f'{args.rounds} rounds, plain update {np.median(plain):.2f} s of CPU time')  # fmt: skip
    rows = [[name, *quartiles(np.array(values) / plain)] for name, values in seconds.items()]
    print(markdown_table(['update', 'CPU time / plain', 'quartiles'], rows))


def quartiles(ratios: Any) -> list[str]:
    """Median and quartiles, as cells of a table."""
    low, median, high = np.percentile(ratios, [25, 50, 75])
    return [f'{median:.3f}', f'{low:.2f} to {high:.2f}']


if __name__ == '__main__':
    with exit_with_sentence():
        main()
