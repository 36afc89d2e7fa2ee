"""Copies of the checkout, and pytest in them.

torch and MMEngine are imported once: every run of pytest is forked from the process that has them.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).resolve().parents[2]
PRELOAD = ('pytest', 'hypothesis', 'torch.distributed', 'mmengine.runner', 'mmdet.models')
FORK = multiprocessing.get_context('fork')
OURS = ('agvm_mm', 'agvm_runs', 'lab')
LEFT_OUT = ('.*', '__pycache__', '*.egg-info', 'work_dirs', 'build', 'dist')
FAILURE = re.compile(r'^(?:FAILED|ERROR) (.+?)(?: - .*)?$', re.MULTILINE)
OPTIONS = ('-x', '-q', '--color=no', '-p', 'no:cacheprovider')
TESTS_FAILED = 1  # of pytest's exit codes; every other one but 0 means that nothing was tested
TIME_UP = 'limit-of-'  # what the failure is called where the time limit was hit

Item = TypeVar('Item')
Result = TypeVar('Result')


def preload() -> None:
    """Import what all tests need, before anything is forked."""
    for module in PRELOAD:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)


def copy_checkout(target: Path) -> Path:
    """A copy of the checkout without what tests do not need."""
    shutil.copytree(ROOT, target, ignore=shutil.ignore_patterns(*LEFT_OUT))
    return target


def run_tests(root: Path, tests: Sequence[str], limit: float) -> tuple[int, str]:
    """Exit code and output of pytest in a copy; the code is 1 after the time limit.

    Args:
        root: the copy.
        tests: files, names and options for pytest, which stops at the first failure.
        limit: seconds.
    """
    with tempfile.TemporaryFile() as output:
        process = FORK.Process(target=_pytest, args=(root, tests, output.fileno()))
        process.start()
        process.join(limit)
        late = process.exitcode is None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid or 0, signal.SIGKILL)  # with the ranks that tests have started
        process.join()
        output.seek(0)
        text = output.read().decode(errors='replace')
    if late:
        return TESTS_FAILED, f'FAILED {TIME_UP}{limit:g}-s'
    return process.exitcode or 0, text


def _pytest(root: Path, tests: Sequence[str], output: int) -> None:
    """What the forked process does: pytest, with the copy in the place of the checkout."""
    os.setsid()
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.stdout = sys.stderr = open(1, 'w', closefd=False)  # noqa: SIM115  until the end
    os.chdir(root)
    others = os.environ.get('PYTHONPATH', '').split(os.pathsep)
    kept = [path for path in others if path and Path(path).resolve() != ROOT]
    os.environ['PYTHONPATH'] = os.pathsep.join([str(root), *kept])
    os.environ['PYTHONDONTWRITEBYTECODE'] = '1'
    # Bytecode is told apart by size and by seconds, so a mutant could run as the one before.
    sys.dont_write_bytecode = True
    sys.path[:] = [str(root), *(path for path in sys.path if Path(path).resolve() != ROOT)]
    for name in [one for one in sys.modules if one.split('.')[0] in OURS]:
        del sys.modules[name]  # of the checkout
    code = importlib.import_module('pytest').main([*OPTIONS, *tests])
    sys.stdout.flush()
    os._exit(int(code))


@contextlib.contextmanager
def replaced(path: Path, content: str) -> Iterator[None]:
    """A file with other content for the length of a ``with`` block."""
    original = path.read_bytes()
    try:
        path.write_text(content, encoding='utf-8')
        yield
    finally:
        path.write_bytes(original)


_own: list[Path] = []
"""The copy of this job; empty in the process that starts the jobs."""


def in_copies(
    task: Callable[[Path, Item], Result], items: Iterable[Item], jobs: int, folder: Path
) -> Iterator[Result]:
    """Call ``task(copy, item)`` for every item, ``jobs`` at a time, each job in a copy of its own.

    Args:
        task: a function of a module, as it is sent to another process.
        items: in the order in which the results are given.
        jobs: processes.
        folder: where the copies are made.
    """
    with ProcessPoolExecutor(jobs, FORK, _take_copy, (folder,)) as pool:
        yield from pool.map(partial(_in_own_copy, task), items)


def _take_copy(folder: Path) -> None:
    _own.append(copy_checkout(folder / str(os.getpid())))


def _in_own_copy(task: Callable[[Path, Item], Result], item: Item) -> Result:
    return task(_own[0], item)
