"""Tests on a device: the simulated one, and with ``-m gpu`` the same tests on a GPU."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from build import library, why_not
from device_process import DeviceProcess

PROCESS = pytest.StashKey[DeviceProcess]()


@pytest.fixture(params=['simulated', pytest.param('cuda', marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    """The type of the device; a test that takes it runs in a process that has it."""
    if request.param == 'simulated':
        if why_not() is not None:
            pytest.skip(why_not() or '')
        library()  # compiled at most once
    else:
        torch.backends.cudnn.allow_tf32 = False
        torch.use_deterministic_algorithms(True, warn_only=True)
    return str(request.param)


@pytest.fixture(scope='session', autouse=True)
def _no_process_left(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if PROCESS in request.config.stash:
        request.config.stash[PROCESS].close()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test of the simulated device in its process; all others as usual."""
    if pyfuncitem.funcargs.get('device') != 'simulated':
        return None
    stash = pyfuncitem.config.stash
    if PROCESS not in stash:
        stash[PROCESS] = DeviceProcess()
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    stash[PROCESS].run(pyfuncitem.obj, arguments)
    return True
