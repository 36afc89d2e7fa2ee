"""What the commands share: arguments, and the checks of their numbers."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from typing import Any

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


def settle_window(args: Namespace) -> None:
    """Let ``args.window``, the last of ``args.updates``, be half of them unless it is given.

    Args:
        args: with at least 3 updates, see :func:`require_at_least`.

    Raises:
        LaunchError: it is longer than the run.
    """
    if args.window is None:
        args.window = max(3, args.updates // 2)
    if args.window > args.updates:
        raise LaunchError(
            f'--window is {args.window}; allowed is at most --updates ({args.updates}).'
        )


def setting_text(value: Any) -> str:
    """A setting for a sentence; None leaves it to the config."""
    return 'as configured' if value is None else str(value)
