"""How a tool ends where it cannot go on: with one sentence, or quietly where nobody reads it."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager

STDOUT = 1
READER_GONE = 128 + 13  # what a shell reports of a program that SIGPIPE has ended


class UserError(ValueError):
    """Something that the user can put right; the message is one sentence for them."""


@contextmanager
def exit_with_sentence() -> Iterator[None]:
    """End with the sentence of a :class:`UserError` on stderr and exit code 1.

    Where standard output is a pipe that nobody reads any more, as behind ``| head -1``, end without
    a word.
    """
    try:
        yield
        print(end='', flush=True)
    except UserError as error:
        sys.exit(f'error: {error}')
    except BrokenPipeError:
        if not _reader_gone():
            raise
        sys.exit(READER_GONE)
    finally:
        if _reader_gone():
            # Python writes what is left when it ends, and would say that it cannot.
            os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)


def _reader_gone() -> bool:
    poll = select.poll()
    poll.register(STDOUT, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))
