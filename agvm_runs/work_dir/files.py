"""Files of a run: read with one sentence for whatever is wrong, written over nothing foreign."""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import UserError

HEAD = 4096  # bytes at the beginning of an output in which its mark is looked for
DEEPEST = 100  # levels of a JSON file; what reads it may recurse


class FileError(UserError):
    """A file that cannot be read or written; the message is one sentence that names it."""


def read_text(path: Path) -> str:
    """The whole file; bytes that are not UTF-8 become U+FFFD.

    Raises:
        FileError: it is missing, no file, or not readable.
    """
    return ''.join(read_lines(path))


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a file, one in memory at a time. See :func:`read_text`."""
    with _sentence(path, 'read'):
        if path.exists() and not path.is_file():
            raise FileError(f'{path} is not a regular file.')
        with path.open(encoding='utf-8', errors='replace') as lines:
            yield from lines


def read_json(path: Path) -> Any:
    """The value that a JSON file holds.

    Raises:
        FileError: as above, or the file is not JSON that can be used.
    """
    try:
        value = parse_json(read_text(path))
        if _is_deep(value):
            raise ValueError('is nested too deeply')
        return value
    except FileError:
        raise
    except json.JSONDecodeError as error:
        raise FileError(f'{path} is not JSON: {error}.') from error
    except ValueError as error:
        raise FileError(f'{path} {error}.') from error


def parse_json(text: str) -> Any:
    """``json.loads`` that raises nothing but ValueError and returns text that can be printed.

    Raises:
        json.JSONDecodeError: no JSON.
        ValueError: JSON that cannot be used; the message goes after the name of the file.
    """
    try:
        value = json.loads(text)
        if '\\u' in text:
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError:
        raise
    except RecursionError:
        raise ValueError('is nested too deeply') from None
    except UnicodeEncodeError:
        raise ValueError('has one half of a surrogate pair in its text') from None
    except ValueError:
        raise ValueError('has a whole number of too many digits') from None
    return value


def finite(value: Any) -> Any:
    """A value for a JSON file, which has neither NaN nor infinity: both become null."""
    if isinstance(value, dict):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def line_a_key(value: Mapping[str, Any]) -> str:
    """JSON with one line for every key, so that two files can be compared by eye and by diff."""
    lines = (
        f'{json.dumps(key)}: {json.dumps(finite(entry), allow_nan=False)}'
        for key, entry in value.items()
    )
    return '{\n' + ',\n'.join(lines) + '\n}\n'


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST):
        level = [
            child
            for parent in level
            if isinstance(parent, (dict, list))
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
    return bool(level)


def require_own(path: Path, mark: str) -> None:
    """Refuse an output path at which something lies that is not the caller's former output.

    Args:
        path: of the output.
        mark: text in the first bytes of each output of this kind; empty where the caller has
            already recognised the file by its content.

    Raises:
        FileError: there is a link, a folder or a foreign file.
    """
    with _sentence(path, 'written'):
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            return
        if stat.S_ISLNK(mode):
            raise FileError(
                f'{path} is a symbolic link, which is not written through: remove it or name '
                'another file.'
            )
        if not stat.S_ISREG(mode):
            raise FileError(f'{path} is not a regular file: name another.')
        with path.open('rb') as file:
            if mark.encode() not in file.read(HEAD):
                raise FileError(
                    f'{path} exists and is not an earlier output of this tool ({mark!r} is not at '
                    'its beginning): move it away or name another file.'
                )


def write_own(path: Path, data: str | bytes, mark: str) -> None:
    """Write an output whole or not at all, over nothing but its former self.

    Args:
        path: of the output; its folder is made.
        data: with ``mark`` in its first :data:`HEAD` bytes.
        mark: see :func:`require_own`.

    Raises:
        FileError: see :func:`require_own`, or the system refuses.
    """
    require_own(path, mark)
    content = data.encode(errors='replace') if isinstance(data, str) else data
    with _sentence(path, 'written'):
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f'.{os.getpid()}.new')  # replaced, never written through a link
        new.unlink(missing_ok=True)  # of a process of the same number that was killed
        try:
            with new.open('xb') as file:
                file.write(content)
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)


@contextmanager
def _sentence(path: Path, deed: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FileError(f'{path} cannot be {deed}: {error.strerror or error}.') from error
