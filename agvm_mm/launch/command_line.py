"""What the commands share: arguments, and the checks of their numbers."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path

import torch
from mmengine.config import DictAction

from .errors import LaunchError
from .machine import VARIABLES, set_local_rank


def add_shared_arguments(parser: ArgumentParser) -> None:
    """Add MMDetection's arguments for the work directory, overrides and the launcher."""
    parser.add_argument('--work-dir', help='directory for logs and checkpoints')
    add_cfg_options(parser)
    parser.add_argument(
        '--launcher', choices=['none', *VARIABLES], default='none', help='what started the ranks'
    )
    parser.add_argument(
        '--local_rank', '--local-rank', type=int, default=0, help='for launchers that pass it'
    )


def add_cfg_options(parser: ArgumentParser) -> None:
    """Add MMDetection's argument for overrides."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override settings of the config, as in optim_wrapper.optimizer.lr=0.01 or '
        'key="[(a,b),(c,d)]" (quoted, without blanks)',
    )


def add_run_arguments(parser: ArgumentParser, updates: int, samples: int) -> None:
    """Add the arguments for short runs that a tool makes itself, and for its outputs.

    Args:
        parser: of the tool.
        updates: default length.
        samples: default number of micro-batches in an update.
    """
    parser.add_argument(
        '--updates', type=int, default=updates, help='optimizer updates; default %(default)s'
    )
    parser.add_argument('--window', type=int, help='the last updates; default half of them')
    parser.add_argument(
        '--samples', type=int, default=samples, help='micro-batches an update; default %(default)s'
    )
    parser.add_argument('--seeds', nargs='+', type=int, default=[0], help='a run each; default 0')
    parser.add_argument(
        '--device',
        default='cuda' if torch.cuda.is_available() else 'cpu',
        help='of the model; here %(default)s',
    )
    parser.add_argument('--json', type=Path, help='file for all numbers')
    parser.add_argument('--figure', help='path without suffix; PNG and SVG')


def parse(parser: ArgumentParser) -> Namespace:
    """Parse the command line and tell MMEngine the local rank."""
    args = parser.parse_args()
    set_local_rank(args.launcher, args.local_rank)
    return args


def require_at_least(args: Namespace, bounds: Mapping[str, int]) -> None:
    """Stop where a number, or one of a list, lies below its bound; None was not given.

    Args:
        args: the command line.
        bounds: least value by attribute.

    Raises:
        LaunchError: names the option, its value and the bound.
    """
    for key, least in bounds.items():
        value = getattr(args, key)
        value = min(value, default=least) if isinstance(value, list) else value
        if value is not None and value < least:
            option = key.replace('_', '-')
            raise LaunchError(
                f'--{option} is {value}; allowed is a whole number, at least {least}.'
            )


def check_run_arguments(args: Namespace) -> None:
    """Let ``args.window``, the last of ``args.updates``, be half of them unless it is given.

    Args:
        args: those of :func:`add_run_arguments`.

    Raises:
        LaunchError: a number is too small, or the window is longer than the run.
    """
    require_at_least(args, {'updates': 3, 'window': 3, 'samples': 2})
    if args.window is None:
        args.window = max(3, args.updates // 2)
    if args.window > args.updates:
        raise LaunchError(
            f'--window is {args.window}; allowed is at most --updates ({args.updates}).'
        )
