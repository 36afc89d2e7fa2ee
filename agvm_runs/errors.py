"""How a tool ends where it cannot go on: with one sentence."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(ValueError):
    """Something that the user can put right; the message is one sentence for them."""


@contextmanager
def exit_with_sentence() -> Iterator[None]:
    """End with the sentence of a :class:`UserError` on stderr and exit code 1."""
    try:
        yield
    except UserError as error:
        sys.exit(f'error: {error}')
