"""Make the virtual environment that ``make demo`` and ``make test`` run in.

    python3 tools/setup_env.py --stack onedl --venv .venv
    python3 tools/setup_env.py --check mmcv._ext mmengine mmdet

The first form installs torch, one MMEngine stack, the developer tools and this package; it needs
the standard library only and does nothing when the environment is complete. mmcv is compiled from
source, since its published wheels have no ops for current torch, and the wheel is kept outside the
checkout (``AGVM_MM_CACHE``, by default ``~/.cache/agvm_mm``) for the next environment. The second
form tells whether the interpreter it runs in can import a stack that is already there.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]


class Stack(NamedTuple):
    """Versions that are tested together.

    Args:
        torch: the requirement; the build of mmcv depends on it.
        mmcv: the requirement; compiled from source.
        packages: everything else.
    """

    torch: str
    mmcv: str
    packages: tuple[str, ...]


# The tested versions, here and nowhere else; setup.py states the ranges that a user may choose in.
# mmsegmentation 1.2.2 imports ftfy and regex without asking for them.
STACKS = {
    'onedl': Stack(
        'torch==2.13.0',
        'onedl-mmcv==2.3.6',
        ('onedl-mmengine==0.10.12', 'onedl-mmdetection==3.5.1', 'onedl-mmsegmentation==1.4.2'),
    ),
    'upstream': Stack(
        'torch==2.13.0',
        'mmcv==2.1.0',
        ('mmengine==0.10.7', 'mmdet==3.3.0', 'mmsegmentation==1.2.2', 'ftfy', 'regex'),
    ),
    # The lower ends of the ranges in setup.py; torch 2.1 was built against numpy 1.
    'oldest': Stack(
        'torch==2.1.0',
        'mmcv==2.1.0',
        ('mmengine==0.10.4', 'mmdet==3.3.0', 'mmsegmentation==1.2.2', 'ftfy', 'regex', 'numpy<2'),
    ),
}
# setuptools 82 dropped pkg_resources, which mmcv's setup.py and mmengine 0.10.7 import.
BUILD_TOOLS = ['pip', 'setuptools<82', 'wheel', 'ninja']

MINIMUM_PYTHON = (3, 10)
FREE_GB_TO_BUILD = 8
FREE_GB_WITH_WHEEL = 4
PHASES = 5


class SetupError(Exception):
    """Set-up cannot go on; the message is the sentence that the user reads."""


class Environment:
    """One virtual environment with one stack.

    Args:
        venv: its folder.
        stack: key of :data:`STACKS`.
    """

    def __init__(self, venv: Path, stack: str) -> None:
        self.venv = venv
        self.stack = STACKS[stack]
        self.python = venv / 'bin' / 'python'
        self.log = venv.with_suffix('.log')
        self.stamp = venv / 'agvm_mm.stamp'
        self.phase = 0
        cache_home = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
        self.wheels = Path(os.environ.get('AGVM_MM_CACHE') or cache_home / 'agvm_mm') / 'wheels'

    @property
    def fingerprint(self) -> str:
        """Hash of all that decides what belongs in the environment."""
        pins = [self.stack, BUILD_TOOLS]
        # A moved checkout needs its editable install again.
        place = [str(ROOT), sys.version_info[:2]]
        text = json.dumps([pins, place, (ROOT / 'setup.py').read_text()])
        return hashlib.sha256(text.encode()).hexdigest()

    def is_complete(self) -> bool:
        """Whether an earlier set-up reached its end with the present pins."""
        stamped = self.stamp.is_file() and self.stamp.read_text() == self.fingerprint
        return stamped and self.python.exists()

    def set_up(self) -> None:
        """Check the machine, then run the five phases; each may be repeated after a break."""
        if self.is_complete():
            return
        any_build = self.stack.torch.split('==')[1] + '*'
        check_machine(self.venv.parent, have_wheel=bool(self.cached_wheels(any_build)))
        self.log.write_text('')
        started = time.monotonic()
        with self.announce(f'virtual environment in {self.venv} (10 s to a minute)'):
            self.make_venv()
        with self.announce(f'{self.stack.torch} (1 to 5 minutes, mostly download)'):
            self.pip('install', self.stack.torch)
        wheel = self.mmcv_wheel()
        with self.announce('MMEngine stack, developer tools and agvm_mm (1 to 3 minutes)'):
            requirements = [self.stack.torch, str(wheel), *self.stack.packages]
            self.pip('install', '--no-build-isolation', *requirements, '-e', f'{ROOT}[dev]')
        with self.announce('trying the imports (about 20 s)'):
            imports = ['mmcv._ext', 'mmengine', 'mmdet', 'mmseg']
            self.run(str(self.python), __file__, '--check', *imports)
        self.stamp.write_text(self.fingerprint)
        print(f'[setup] complete in {time.monotonic() - started:.0f} s', flush=True)

    def make_venv(self) -> None:
        """Create the environment, or keep one of the same Python whose pip works."""
        probe = f'import pip, sys; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})'
        try:
            self.run(str(self.python), '-c', probe)
        except (OSError, SetupError):
            # Only what is an environment already is emptied: the path may be a user's mistake.
            clear = ['--clear'] if (self.venv / 'pyvenv.cfg').exists() else []
            self.run(sys.executable, '-m', 'venv', *clear, str(self.venv))
        self.pip('install', '--upgrade', *BUILD_TOOLS)

    def mmcv_wheel(self) -> Path:
        """Wheel of mmcv with compiled ops for this Python and torch, cached or built now."""
        probe = (
            'import torch; from torch.utils.cpp_extension import CUDA_HOME;'
            'print(torch.__version__, torch.cuda.is_available(), CUDA_HOME is not None)'
        )
        version, *found = self.run(str(self.python), '-c', probe).split()[-3:]
        cuda = wants_cuda(*(word == 'True' for word in found))
        key = version + ('-cuda' if cuda else '')
        what = f'mmcv with compiled ops from {self.wheels}'
        if not self.cached_wheels(key):
            kind = 'CUDA and CPU, over 20 minutes' if cuda else 'CPU, 5 to 20 minutes on two cores'
            what = f"compiling mmcv's ops, once ({kind}; output in {self.log})"
        with self.announce(what):
            if not self.cached_wheels(key):
                self.build_mmcv(self.wheels / wheel_folder(key), cuda)
        return self.cached_wheels(key)[0]

    def cached_wheels(self, key: str) -> list[Path]:
        """Wheels of the pinned mmcv built for this Python and the torch build ``key`` (a glob)."""
        name = self.stack.mmcv.replace('-', '_').replace('==', '-')
        return sorted(self.wheels.glob(f'{wheel_folder(key)}/{name}-*.whl'))

    def build_mmcv(self, folder: Path, cuda: bool) -> None:
        """Compile mmcv and move the wheel into ``folder``, which never holds half a wheel."""
        flags = {'CFLAGS': '-O2 -g0', 'CXXFLAGS': '-O2 -g0', 'MAX_JOBS': compile_jobs()}
        # mmcv asks torch for a GPU, not for nvcc: without nvcc the GPU is hidden from its build.
        hide_gpu = {} if cuda else {'FORCE_CUDA': '0', 'CUDA_VISIBLE_DEVICES': ''}
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            # Build isolation hides torch, and pip's own cache may hold a wheel from such a build:
            # both give an mmcv without ops and no error.
            options = ['-v', '--no-build-isolation', '--no-cache-dir', '--no-deps', '-w', scratch]
            env = {'MMCV_WITH_OPS': '1', **flags, **hide_gpu}
            self.pip('wheel', *options, '--no-binary', ':all:', self.stack.mmcv, env=env)
            (wheel,) = Path(scratch).glob('*.whl')
            with zipfile.ZipFile(wheel) as archive:
                if not any(name.startswith('mmcv/_ext.') for name in archive.namelist()):
                    raise SetupError(f'mmcv was built without its compiled ops; see {self.log}.')
            wheel.replace(folder / wheel.name)

    def pip(self, *arguments: str, env: dict[str, str] | None = None) -> None:
        """Run the environment's pip, quietly unless ``-v`` is among the arguments."""
        quiet = [] if '-v' in arguments else ['-qq']
        self.run(str(self.python), '-m', 'pip', *arguments, *quiet, env=env)

    def run(self, *command: str, env: dict[str, str] | None = None) -> str:
        """Run a command into the log and return its output.

        Raises:
            SetupError: with the last 20 lines of the log when the command fails.
        """
        start = self.log.stat().st_size if self.log.exists() else 0
        full_env = {**os.environ, 'PIP_DISABLE_PIP_VERSION_CHECK': '1', **(env or {})}
        with self.log.open('a') as log:
            code = subprocess.run(command, stdout=log, stderr=log, env=full_env).returncode
        output = self.log.read_bytes()[start:].decode(errors='replace')
        if code:
            tail = '\n'.join(output.splitlines()[-20:])
            cause = 'the disk is full' if 'No space left' in output else 'the lines above say why'
            raise SetupError(
                f'{tail}\nSet-up stopped in phase {self.phase} of {PHASES}: {cause} (all is in '
                f'{self.log}); put that right and repeat the command, finished phases are kept.'
            )
        return output

    @contextlib.contextmanager
    def announce(self, what: str) -> Iterator[None]:
        """Say what begins and, at its end, the seconds it took."""
        self.phase += 1
        print(f'[setup {self.phase}/{PHASES}] {what} ...', end=' ', flush=True)
        started = time.monotonic()
        try:
            yield
        except BaseException:
            print('stopped', flush=True)
            raise
        print(f'{time.monotonic() - started:.0f} s', flush=True)


def wheel_folder(torch_version: str) -> str:
    """Folder of the wheel cache for one Python and one torch build: their ABI decides."""
    return f'cp{sys.version_info[0]}{sys.version_info[1]}-torch{torch_version}'


def wants_cuda(gpu: bool, compiler: bool) -> bool:
    """Whether mmcv gets CUDA operators: on a machine with both, or as FORCE_CUDA says.

    The login node of a cluster has the compiler and no GPU.

    Raises:
        SetupError: they are asked for and there is no compiler.
    """
    forced = os.environ.get('FORCE_CUDA')
    if forced == '1' and not compiler:
        raise SetupError(
            "FORCE_CUDA is 1 and torch finds no CUDA compiler for mmcv's operators: install the "
            'CUDA toolkit, name its folder in CUDA_HOME, or unset FORCE_CUDA.'
        )
    return compiler and (gpu if forced is None else forced == '1')


def compile_jobs() -> str:
    """``MAX_JOBS``: one job per core, but no more than one for 2 GiB of memory."""
    memory_gib = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') // 2**30
    jobs = max(1, min(os.cpu_count() or 1, memory_gib // 2))
    return os.environ.get('MAX_JOBS') or str(jobs)


def check_machine(folder: Path, have_wheel: bool) -> None:
    """Check Python, disk space and, when mmcv must be compiled, the compiler.

    Raises:
        SetupError: with what is missing and how to get it.
    """
    if sys.version_info < MINIMUM_PYTHON:
        have, need = ('.'.join(map(str, v[:2])) for v in (sys.version_info, MINIMUM_PYTHON))
        raise SetupError(
            f'agvm_mm needs Python {need} or later and {sys.executable} is {have}: choose another '
            'with `make BASE_PYTHON=/path/to/python3 ...`.'
        )
    if not importlib.util.find_spec('venv') or not importlib.util.find_spec('ensurepip'):
        raise SetupError(
            f'{sys.executable} cannot make virtual environments: install its venv module '
            '(Debian and Ubuntu: `apt install python3-venv`).'
        )
    need_gb = FREE_GB_WITH_WHEEL if have_wheel else FREE_GB_TO_BUILD
    free_gb = shutil.disk_usage(folder).free / 1e9
    if free_gb < need_gb:
        raise SetupError(
            f'{need_gb} GB of free disk are needed in {folder} and {free_gb:.1f} GB are free: '
            'make room, or move the checkout to a larger disk.'
        )
    if have_wheel:
        return
    compiler = os.environ.get('CXX', 'g++')
    if shutil.which(compiler) is None:
        raise SetupError(
            f"{compiler} was not found and mmcv's ops must be compiled once: install a C++ "
            'compiler (Debian and Ubuntu: `apt install g++`) or name one in CXX.'
        )
    if not Path(sysconfig.get_path('include'), 'Python.h').is_file():
        raise SetupError(
            f"{sys.executable} has no Python.h and mmcv's ops must be compiled once: install its "
            'headers (Debian and Ubuntu: `apt install python3-dev`).'
        )


def check_imports(names: list[str]) -> None:
    """Stop with one sentence unless this interpreter imports every module in ``names``."""
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:  # mmdet 3.3 refuses an mmcv it dislikes by AssertionError
            sys.exit(
                f'{sys.executable} cannot import {name} ({type(error).__name__}: {error}): name a '
                'Python with a working stack in PYTHON, or leave PYTHON out to have one made.'
            )


def main() -> None:
    """Parse the command line and do the one thing it asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument('--check', nargs='+', metavar='MODULE', help='only try these imports')
    parser.add_argument('--stack', choices=list(STACKS), default='onedl', help='what to install')
    parser.add_argument('--venv', type=Path, default=Path('.venv'), help='where to install it')
    arguments = parser.parse_args()
    if arguments.check:
        check_imports(arguments.check)
        return
    try:
        Environment(arguments.venv.absolute(), arguments.stack).set_up()
    except SetupError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit('Set-up was interrupted: repeat the command, finished phases are kept.')


if __name__ == '__main__':
    main()
