"""How large a batch each module can take, from a few hundred small-batch updates."""

from __future__ import annotations

import argparse
import logging

from mmengine.logging import MMLogger

import agvm_mm  # noqa: F401  registers what configs name
from agvm_mm.launch.command_line import (
    add_run_arguments,
    check_run_arguments,
    require_at_least,
)
from agvm_mm.launch.errors import LaunchError
from agvm_mm.predict.forecast import Plan, run, write
from agvm_mm.predict.render import tables
from agvm_runs.errors import exit_with_sentence
from agvm_runs.predictions.draw import MARK, draw_prediction
from agvm_runs.predictions.kept import FORMAT, read
from agvm_runs.style import paths_of
from agvm_runs.work_dir import require_own


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='a training config, or the JSON file of an earlier call')
    parser.add_argument(
        '--batch',
        nargs='+',
        type=int,
        default=[32, 256, 1024],
        help='predict for these; default 32 256 1024',
    )
    parser.add_argument('--checkpoint', help='weights to start from')
    parser.add_argument('--images', type=int, default=1, help='in a micro-batch; default 1')
    parser.add_argument('--lr', type=float, help="default: the config's, scaled to the batch")
    parser.add_argument(
        '--check',
        nargs='+',
        type=int,
        default=[],
        metavar='TIMES',
        help='measure phi at these multiples of the small batch, such as 4 16 64',
    )
    parser.add_argument('--blocks', type=int, default=4, help='estimates at the largest multiple')
    add_run_arguments(parser, updates=200, samples=4)
    return parser.parse_args()


def check(args: argparse.Namespace) -> None:
    """Stop before the run where an argument is out of range.

    Raises:
        LaunchError: names the option.
        FileError: an output would overwrite something else.
    """
    check_run_arguments(args)
    require_at_least(args, dict.fromkeys(('images', 'blocks', 'batch', 'check'), 1))
    if args.json is not None:
        require_own(args.json, FORMAT)
    if args.figure is not None:
        paths_of(args.figure, MARK)


def main() -> None:
    """Run or read, print, write, draw."""
    args = parse_args()
    check(args)
    try:
        if args.config.endswith('.json'):
            result = read(args.config)
        else:
            MMLogger.get_current_instance().setLevel(logging.WARNING)  # every initialised tensor
            plan = Plan(
                args.config,
                args.checkpoint,
                args.images,
                args.samples,
                args.updates,
                args.window,
                args.lr,
                tuple(args.check),
                args.blocks,
                args.device,
            )
            result = run(plan, args.seeds)
    except (OSError, ValueError) as error:
        raise LaunchError(str(error)) from error
    if args.json is not None:
        write(result, args.json)
    print(tables(result, args.batch))
    if args.figure is not None:
        for path in draw_prediction(result, args.figure):
            print(path)


if __name__ == '__main__':
    with exit_with_sentence():
        main()
