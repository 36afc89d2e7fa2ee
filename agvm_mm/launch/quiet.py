"""``--quiet``: a terminal with progress, scores and this package's own lines; a file with the rest.

Tracebacks and the sentences of errors go to stderr as always.
"""

from __future__ import annotations

import io
import logging
import sys
import time
from pathlib import Path
from typing import Any, TextIO

from mmengine.dist import master_only
from mmengine.hooks import Hook

from ..wrappers.accumulate import accumulation
from .machine import rank_of

OUTPUT = 'output.txt'
SMOOTH = 10  # iterations of which the loss is a mean
CLEAR = '\r\033[K'  # begins the last line of a terminal anew
PARTS = 10  # lines of progress where the terminal is a file or a pipe
PASSED_ON = ('logging', 'mmengine.logging.logger')  # what a line passes on its way to the log
MAIN = ('mAP', 'mIoU', 'PQ')  # how the keys of main scores end


class Kept(io.TextIOBase):
    """A text that is kept in memory until there is a file for it."""

    def __init__(self) -> None:
        self._text: TextIO = io.StringIO()

    def write(self, text: str) -> int:
        """As every stream."""
        return self._text.write(text)

    def flush(self) -> None:
        """As every stream."""
        self._text.flush()

    def into(self, path: Path) -> None:
        """Append what there is, and what will come, to a file."""
        earlier = self._text
        path.parent.mkdir(parents=True, exist_ok=True)
        self._text = path.open('a', buffering=1, encoding='utf-8')
        if isinstance(earlier, io.StringIO):
            self._text.write(earlier.getvalue())


class Quiet:
    """Takes the place of stdout, and of the stream of Python's warnings, from its start on.

    Attributes:
        terminal: what stdout was.
        kept: what takes its place.
    """

    def __init__(self) -> None:
        self.terminal: TextIO = sys.stdout
        self.kept = Kept()
        sys.stdout = self.kept
        logging.captureWarnings(True)
        warnings = logging.getLogger('py.warnings')
        warnings.propagate = False
        warnings.addHandler(logging.StreamHandler(self.kept))

    def keep_in(self, work_dir: str) -> None:
        """Write what is kept to ``output.txt`` of the work directory."""
        self.kept.into(Path(work_dir) / OUTPUT)

    def watch(self, runner: Any) -> None:
        """Show this runner's progress, scores, errors, and what this package says."""
        screen = Screen(self.terminal)
        runner.logger.addHandler(_OwnLines(screen, rank_of(runner.cfg.launcher)))
        runner.register_hook(_ProgressHook(screen))


class Screen:
    """Lines that stay and, on a terminal, one that changes."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._live = file.isatty()
        self._shown = 0

    def say(self, text: str) -> None:
        """Write a line that stays."""
        self._write(f'{CLEAR if self._live else ""}{text}\n')

    def progress(self, text: str, done: int, total: int) -> None:
        """Show how far something is: on a terminal at once, in a file ten times in all."""
        part = done * PARTS // total
        if self._live:
            self._write(CLEAR + text)
        elif part > self._shown:
            self.say(text)
        self._shown = part

    def _write(self, text: str) -> None:
        # In one piece: other ranks may write to the same file.
        self._file.write(text)
        self._file.flush()


class _OwnLines(logging.Handler):
    """Errors of everything, and on rank 0 what this package logs."""

    def __init__(self, screen: Screen, rank: int) -> None:
        super().__init__(logging.INFO if rank == 0 else logging.ERROR)
        self._screen = screen

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line without its time."""
        if record.levelno >= logging.ERROR or _logged_by_us():
            level = '' if record.levelno < logging.WARNING else f'{record.levelname}: '
            self._screen.say(level + record.getMessage())


def _logged_by_us() -> bool:
    frame: Any = sys._getframe()
    while frame is not None and frame.f_globals.get('__name__') in (__name__, *PASSED_ON):
        frame = frame.f_back
    return frame is not None and str(frame.f_globals.get('__name__')).startswith('agvm_mm.')


class _ProgressHook(Hook):
    """Updates made, loss and time left; main scores of a validation."""

    priority = 'VERY_LOW'

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    def before_train(self, runner: Any) -> None:
        """Begin to count the time."""
        self._start, self._first = time.monotonic(), runner.iter

    @master_only
    def after_train_iter(self, runner: Any, batch_idx: int, *args: Any, **kwargs: Any) -> None:
        """Show the progress."""
        done, total = runner.iter + 1, runner.max_iters
        spent = time.monotonic() - self._start
        left = spent / (done - self._first) * (total - done)
        counts = accumulation(runner.optim_wrapper)
        updates = -(-total // counts)
        made = done // counts if done < total else updates
        loss = runner.message_hub.get_scalar('train/loss').mean(SMOOTH)
        text = f'update {made}/{updates}  loss {loss:.3f}  {_clock(spent)}, {_clock(left)} left'
        self._screen.progress(text, made, updates)

    @master_only
    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Show the scores."""
        found = metrics or {}
        main = {key: value for key, value in found.items() if key.endswith(MAIN)} or found
        scores = '  '.join(f'{key} {value:.3f}' for key, value in main.items())
        update = runner.iter // accumulation(runner.optim_wrapper)
        self._screen.say(f'after update {update}: {scores}')


def _clock(seconds: float) -> str:
    return f'{int(seconds) // 60}:{int(seconds) % 60:02d}'
