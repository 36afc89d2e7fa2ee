"""A process with the simulated device, which forks a child for every test.

A device of torch has to be registered before the first backward pass of a process, and a process
that has used it cannot fork ranks any more. The process of pytest is on the wrong side of both.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

import pytest

PATIENCE = 200  # seconds for one test
Answer = tuple[str, str]


class DeviceProcess:
    """Runs functions of test modules, each in a child of its own."""

    def __init__(self) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
        )
        theirs.close()

    def run(self, function: Callable[..., None], arguments: Mapping[str, Any]) -> None:
        """Call it there, as pytest would here.

        Raises:
            AssertionError: with the traceback of the child.
        """
        self._pipe.send((function, dict(arguments)))
        outcome, text = self._pipe.recv()
        if outcome == 'skipped':
            pytest.skip(text)
        if outcome == 'failed':
            pytest.fail(text, pytrace=False)

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()


def _serve(pipe: Connection) -> None:
    import torch

    torch.set_num_threads(1)  # before a fork
    import simulated

    simulated.register()
    import training  # noqa: F401  what every test would import

    while True:
        try:
            function, arguments = pipe.recv()  # this imports the test's module
        except EOFError:
            return
        pipe.send(_in_child(function, arguments))


def _in_child(function: Callable[..., None], arguments: dict[str, Any]) -> Answer:
    context = multiprocessing.get_context('fork')
    answer, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_call, args=(theirs, function, arguments))
    child.start()
    theirs.close()
    try:
        if not answer.poll(PATIENCE):
            return 'failed', f'no answer within {PATIENCE} s'
        outcome: Answer = answer.recv()
        return outcome
    except EOFError:
        child.join(5)
        return 'failed', f'the test ended its process with exit code {child.exitcode}'
    finally:
        child.kill()
        child.join()


def _call(pipe: Connection, function: Callable[..., None], arguments: dict[str, Any]) -> None:
    try:
        function(**arguments)
        pipe.send(('passed', ''))
    except pytest.skip.Exception as skipped:
        pipe.send(('skipped', str(skipped)))
    except BaseException:
        pipe.send(('failed', traceback.format_exc()))
    pipe.close()
    os._exit(0)  # no shutdown of the interpreter: its threads are the parent's


if __name__ == '__main__':
    _serve(Connection(int(sys.argv[1])))
