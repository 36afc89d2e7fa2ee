"""How a launch that cannot work stops, and what one that can has to say."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from agvm_runs.work_dir import FileError


class LaunchError(ValueError):
    """A launch that cannot work; the message is one sentence for the person who started it."""


class Note(NamedTuple):
    """A line for the log, kept until the Runner has built its logger."""

    text: str
    level: int = logging.INFO


@contextmanager
def exit_with_sentence() -> Iterator[None]:
    """End with the sentence of a :class:`LaunchError` or of a file on stderr, and exit code 1."""
    try:
        yield
    except (LaunchError, FileError) as error:
        sys.exit(f'error: {error}')
