"""What the tools that make many runs check their command lines with."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from .errors import LaunchError


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
