"""Settings that every test shares."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import setuptools  # noqa: F401  before distutils, or inductor's check of the compiler fails
import torch
from hypothesis import settings

# Rank processes are forked from this one: a thread pool of the parent would hang in the child.
torch.set_num_threads(1)
os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('GLOO_SOCKET_IFNAME', 'lo')

# What an outer launcher or a CI job has set would reach the ranks and tools that tests start.
OUTER = re.compile(
    '(RANK|LOCAL_RANK|WORLD_SIZE|MASTER_ADDR|MASTER_PORT|PORT|NNODES|NODE_RANK|FORCE_COLOR)$'
    '|(SLURM|OMPI|TORCHELASTIC)_'
)
for _name in filter(OUTER.match, list(os.environ)):
    del os.environ[_name]

# The same cases in every run, on a machine of any speed.
settings.register_profile('tests', deadline=None, derandomize=True, database=None)
settings.load_profile('tests')


def pytest_configure(config: pytest.Config) -> None:
    """Hide the GPU unless its tests are asked for: a process that has used it cannot fork ranks."""
    if not _asks_for_gpu(config):
        os.environ['CUDA_VISIBLE_DEVICES'] = ''


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the tests of a GPU out unless they are asked for."""
    if _asks_for_gpu(config):
        return
    kept, left_out = [], []
    for item in items:
        on_gpu = any(item.get_closest_marker(name) for name in ('gpu', 'gpu2'))
        (left_out if on_gpu else kept).append(item)
    config.hook.pytest_deselected(items=left_out)
    items[:] = kept


def _asks_for_gpu(config: pytest.Config) -> bool:
    return re.search(r'(?<!not )gpu', config.option.markexpr) is not None


@pytest.fixture(scope='session', autouse=True)
def _own_checkpoints() -> None:
    """As the tools do; without it mmengine 0.10.7 cannot resume with torch 2.6 and later."""
    from agvm_mm.compat import allow_own_checkpoints

    allow_own_checkpoints()


@pytest.fixture(autouse=True)
def _fresh_globals() -> None:
    """Scalars, logs, curves and the default scope of one test must not reach the next.

    MMEngine finds them by the name of the run, which two runs of one second share.
    """
    from mmengine.registry import DefaultScope
    from mmengine.utils import ManagerMixin

    kinds = [ManagerMixin]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
        kind._instance_dict.clear()
    DefaultScope.get_instance('tests', scope_name='mmdet')


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The current directory and the folder of the data, in which nothing may be written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('AGVM_MM_DATA', str(tmp_path))
    yield
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope='session')
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder for AGVM_MM_DATA with 12 training and 4 validation scenes of 64 pixels."""
    import training_runs as runs

    return runs.draw_scenes(tmp_path_factory.mktemp('data'))
