"""Start the project's tools as a user does and see what they print."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def run_tool(tool: str, *args: Any, data: Path | None = None, fails: bool = False) -> str:
    """Run ``tools/<tool>`` or ``lab.<command>`` to its end and return everything it printed.

    Args:
        tool: file name of a Python or a shell script, or the name of a command's module.
        args: its arguments.
        data: folder for AGVM_MM_DATA.
        fails: whether a non-zero exit code is expected.
    """
    done = subprocess.run(
        command_of(tool, *args),
        env=environment(data),
        cwd=ROOT,
        text=True,
        timeout=600,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert (done.returncode != 0) == fails, done.stdout[-6000:]
    return done.stdout


def command_of(tool: str, *args: Any) -> list[str]:
    """The command line, see :func:`run_tool`."""
    if tool.startswith('lab.'):
        command = [sys.executable, '-m', tool]
    else:
        command = [sys.executable if tool.endswith('.py') else 'bash', str(ROOT / 'tools' / tool)]
    return [*command, *map(str, args)]


def environment(data: Path | None = None) -> dict[str, str]:
    """The tools run from the checkout with this interpreter."""
    paths = [str(ROOT), str(ROOT / 'tests'), os.environ.get('PYTHONPATH', '')]
    extra = {'PYTHON': sys.executable, 'PYTHONPATH': os.pathsep.join(filter(None, paths))}
    if data is not None:
        extra['AGVM_MM_DATA'] = str(data)
    return {**os.environ, **extra}
