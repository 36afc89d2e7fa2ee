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
