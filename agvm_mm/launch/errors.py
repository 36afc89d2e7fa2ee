"""How a launch that cannot work stops, and what one that can has to say."""

from __future__ import annotations

import logging
from typing import NamedTuple

from agvm_runs.errors import UserError


class LaunchError(UserError):
    """A launch that cannot work; the message is one sentence for the person who started it."""


class Note(NamedTuple):
    """A line for the log, kept until the Runner has built its logger."""

    text: str
    level: int = logging.INFO


def stop_or_warn(error: LaunchError, dry_run: bool) -> list[Note]:
    """Raise what training would raise; a dry run, which trains nothing, says it instead."""
    if not dry_run:
        raise error
    return [Note(f'Training would stop: {error}', logging.WARNING)]
