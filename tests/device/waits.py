"""Every operation for which the host waits for the device, with the line that caused it."""

from __future__ import annotations

import linecache
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

OWN = '/agvm_mm/'
PASSING_ON = 'wrappers/wrapper.py'  # it is on the stack of all that MMEngine and torch do


@contextmanager
def host_waits(device: str) -> Iterator[list[str]]:
    """A list of what the host waited for inside the context."""
    found: list[str] = []
    listening = _on_cuda if device == 'cuda' else _on_simulated
    with listening(lambda what: found.append(f'{what}: {_line()}')):
        yield found


def _line() -> str:
    """The innermost line of the package, or without any the innermost one."""
    frames = [frame for frame in traceback.extract_stack() if not _is_ours(frame)]
    own = [f for f in frames if OWN in f.filename and not f.filename.endswith(PASSING_ON)]
    frame = (own or frames)[-1]
    source = linecache.getline(frame.filename, frame.lineno or 0).strip()
    return f'{"/".join(Path(frame.filename).parts[-3:])}:{frame.lineno} {source}'


def _is_ours(frame: traceback.FrameSummary) -> bool:
    return frame.filename in (__file__, warnings.__file__)


@contextmanager
def _on_simulated(heard: Callable[[str], None]) -> Iterator[None]:
    torch.simulated.extension.listen(heard)
    try:
        yield
    finally:
        torch.simulated.extension.listen(None)


@contextmanager
def _on_cuda(heard: Callable[[str], None]) -> Iterator[None]:
    """By CUDA's own debug mode, whose warnings come from the line that waits."""
    with warnings.catch_warnings():
        warnings.simplefilter('always')
        warnings.showwarning = _only_waits(heard)
        torch.cuda.set_sync_debug_mode('warn')
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode('default')


def _only_waits(heard: Callable[[str], None]) -> Any:
    def show(message: Any, *_: Any) -> None:
        if 'synchronizing CUDA operation' in str(message):
            heard('CUDA synchronised')

    return show
