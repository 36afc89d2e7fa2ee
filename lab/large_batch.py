"""Which method keeps its score at a large batch: the same images, every rate searched.

    python -m lab.large_batch --methods sgd lamb muon --batches 32 512 --images 32768
    python -m lab.large_batch --show --figure docs/images/large_batch   # trains nothing
    python -m lab.large_batch --methods agvm-sgd --batches 512 --rates 0.1 0.2   # no search
    python -m lab.large_batch --methods sgd --batches 512 --others 0.5 2 4 --rates 0.1 0.2

    python -m lab.large_batch --task bccd --methods sgd muon kfac-sgd   # real images

The task ``scenes`` trains a tiny Semantic FPN from random weights on generated scenes of 32 x 32
pixels; ``bccd`` and ``camvid`` train RetinaNet and Semantic FPN with an ImageNet backbone on real
images of 128 x 96 pixels. Every run sees the same number of images, in micro-batches of one size: a
tenth of the updates is warm-up, then a cosine. A cell searches its learning rate with seed 100,
from half of the method's first rate in steps of 2x until the best lies inside, then trains the
seeds at the best. ``--rates`` trains the seeds and the tuning seed at given rates instead. A run
whose file is there is not repeated. docs/large_batch.md has the protocol.
"""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path

import torch
from mmengine.logging import MMLogger

from agvm_mm.launch.command_line import require_at_least
from agvm_mm.launch.errors import LaunchError
from agvm_runs.errors import exit_with_sentence

from .batches.cells import TUNING_SEED, Cell, path_of
from .batches.figure import plot
from .batches.images import Images
from .batches.methods import METHODS, split_name
from .batches.table import SHARE, to_markdown
from .batches.tasks import SCENES, TASKS
from .batches.training import Run, train
from .trainings.results import write_result


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--methods', nargs='+', default=list(METHODS), metavar='METHOD',
        help=f'of {", ".join(METHODS)}, with agvm- in front for AGVM and options behind, as in '
        'kfac-sgd:damping=0.1; default all without AGVM or options',
    )  # fmt: skip
    parser.add_argument(
        '--task', choices=TASKS, default=SCENES, help='what is learned; default %(default)s'
    )
    parser.add_argument(
        '--batches', nargs='+', type=int, help="images of an update; default the task's"
    )
    parser.add_argument('--images', type=int, help="of a whole run; default the task's")
    parser.add_argument(
        '--others', nargs='+', type=float, default=[1.0],
        help='multipliers of the learning rate of everything but the backbone; default 1',
    )  # fmt: skip
    parser.add_argument('--rates', nargs='+', type=float, help='learning rates; default a search')
    parser.add_argument(
        '--tune', type=int, default=6, help='runs of a search at most; default %(default)s'
    )
    parser.add_argument(
        '--seeds', nargs='*', type=int, default=[0, 1, 2], help='default 0 1 2; none for a search'
    )
    parser.add_argument('--show', action='store_true', help='print the table and train nothing')
    parser.add_argument('--figure', type=Path, help='path without suffix; PNG and SVG')
    parser.add_argument(
        '--share', type=float, default=SHARE,
        help='of the score of SGD at the smallest batch, to which updates and CPU time are '
        'counted; default %(default)s',
    )  # fmt: skip
    parser.add_argument(
        '--results',
        type=Path,
        default=Path('docs/results/large_batch'),
        help='JSON files; default %(default)s',
    )
    args = parser.parse_args()
    args.batches = args.batches or list(TASKS[args.task].batches)
    args.images = TASKS[args.task].images if args.images is None else args.images
    return args


def check(args: argparse.Namespace) -> None:
    """Stop before anything is drawn or trained where a run could not be made.

    Raises:
        LaunchError: an argument is out of range.
    """
    for method in args.methods:
        split_name(method)
    micro = TASKS[args.task].micro
    require_at_least(args, {'images': 1, 'tune': 2, 'batches': micro})
    for batch in args.batches:
        if batch % micro or args.images % batch or args.images < 2 * batch:
            raise LaunchError(
                f'--batches holds {batch}; allowed are multiples of {micro} that divide the '
                f'{args.images} of --images at least twice.'
            )
    for name in ('others', 'rates'):
        if min(getattr(args, name) or [1]) <= 0:
            raise LaunchError(f'--{name} holds {min(getattr(args, name))}; allowed is above 0.')
    if not args.share > 0:
        raise LaunchError(f'--share is {args.share}; allowed is above 0.')


def cells_of(args: argparse.Namespace) -> list[Cell]:
    """The cells of the command line, by batch, multiplier and method."""
    return [
        Cell(method, batch, args.images, others, args.task)
        for batch in args.batches
        for others in args.others
        for method in args.methods
    ]


def next_runs(cell: Cell, args: argparse.Namespace) -> list[Run]:
    """Runs of a cell that are missing and can be named now; none when it is done."""
    if args.rates:
        runs = [cell.run(rate, seed) for rate in args.rates for seed in (TUNING_SEED, *args.seeds)]
    else:
        runs = [cell.run(r, TUNING_SEED) for r in cell.next_rates(args.results, args.tune)]
        best = cell.best_rate(args.results)
        if not runs and best is not None:
            runs = [cell.run(best, seed) for seed in args.seeds]
    return [run for run in runs if not path_of(args.results, run).exists()]


def train_cell(cell: Cell, args: argparse.Namespace, data: Images, val: Images) -> None:
    """Make what is missing of a cell."""
    while runs := next_runs(cell, args):
        for run in runs:
            start = time.monotonic()
            result = train(run, TASKS[run.task], data, val)
            path = path_of(args.results, run)
            write_result(path, result)
            seconds = time.monotonic() - start
            print(
                f'{path.stem}: {result["scores"][cell.key]:.1f} {cell.key}, {seconds:.0f} s',
                flush=True,
            )


def main() -> None:
    """Train what is missing, then print the table."""
    args = parse_args()
    check(args)
    cells = cells_of(args)
    if not args.show:
        torch.set_num_threads(1)
        MMLogger.get_current_instance().setLevel(logging.WARNING)
        data, val = TASKS[args.task].load()
        for cell in cells:
            train_cell(cell, args, data, val)
    print(to_markdown(cells, args.results, args.seeds, args.share))
    if args.figure:
        print(*plot(cells, args.results, args.seeds, args.figure, args.share))


if __name__ == '__main__':
    with exit_with_sentence():
        main()
