"""How a launch that cannot work stops, and what one that can has to say."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple


class LaunchError(ValueError):
    """A launch that cannot work; the message is one sentence for the person who started it."""


class Note(NamedTuple):
    """A line for the log, kept until the Runner has built its logger."""

    text: str
    level: int = logging.INFO


@contextmanager
def exit_with_sentence() -> Iterator[None]:
    """Turn a :class:`LaunchError` into its sentence on stderr and exit code 1, no traceback."""
    try:
        yield
    except LaunchError as error:
        sys.exit(f'error: {error}')
