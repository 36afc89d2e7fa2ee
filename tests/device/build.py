"""Compiles the simulated device once, into the cache that holds mmcv's wheel."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import torch

SOURCE = Path(__file__).with_name('device.cpp')
NAME = 'simulated_device'
OLDEST_TORCH = (2, 7)  # the first with these interfaces of a device


def why_not() -> str | None:
    """What a machine lacks for the simulated device; None if it lacks nothing."""
    if tuple(int(part) for part in torch.__version__.split('.')[:2]) < OLDEST_TORCH:
        return f'the simulated device is written for torch {OLDEST_TORCH[0]}.{OLDEST_TORCH[1]}'
    for tool in (os.environ.get('CXX', 'c++'), 'ninja'):
        if shutil.which(tool) is None and not (Path(sys.executable).parent / tool).exists():
            return f'the simulated device is compiled once, and {tool} was not found'
    if not Path(sysconfig.get_path('include'), 'Python.h').is_file():
        return 'the simulated device is compiled once, and Python.h was not found'
    return None


def library() -> Path:
    """The compiled device for this Python, torch and source."""
    cache_home = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
    cache = Path(os.environ.get('AGVM_MM_CACHE') or cache_home / 'agvm_mm')
    source = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:12]
    build = f'cp{sys.version_info[0]}{sys.version_info[1]}-torch{torch.__version__}-{source}'
    found = cache / NAME / build / f'{NAME}.so'
    if not found.exists():
        _compile(found)
    return found


def _compile(library: Path) -> None:
    """In a process of its own, since building loads what was built; then moved into place."""
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent) as scratch:
        path = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'  # ninja's place
        done = subprocess.run(
            [sys.executable, __file__, scratch],
            capture_output=True,
            text=True,
            env={**os.environ, 'PATH': path, 'MAX_JOBS': '1'},
        )
        if done.returncode:
            raise RuntimeError(f'the simulated device does not compile:\n{done.stdout[-4000:]}')
        Path(scratch, library.name).replace(library)


if __name__ == '__main__':
    from torch.utils.cpp_extension import load

    load(NAME, [str(SOURCE)], build_directory=sys.argv[1], extra_cflags=['-O0'], verbose=True)
