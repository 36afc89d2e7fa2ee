"""Settings that every test shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import setuptools  # noqa: F401  before distutils, or inductor's check of the compiler fails
import torch

# Rank processes are forked from this one: a thread pool of the parent would hang in the child.
torch.set_num_threads(1)
os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('GLOO_SOCKET_IFNAME', 'lo')

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def real_data() -> Path:
    """The folder with BCCD and CamVid; the test is skipped where it is absent."""
    folder = Path(os.environ.get('AGVM_MM_DATA', ROOT.parent / 'shared' / 'data'))
    if not folder.is_dir():
        pytest.skip('BCCD and CamVid are not here; set AGVM_MM_DATA to their folder')
    return folder


@pytest.fixture(autouse=True)
def _fresh_globals() -> None:
    """Scalars, log levels and the default scope of one test must not reach the next."""
    from mmengine.logging import MessageHub, MMLogger
    from mmengine.registry import DefaultScope

    MessageHub._instance_dict.clear()
    MMLogger._instance_dict.clear()
    DefaultScope._instance_dict.clear()
    DefaultScope.get_instance('tests', scope_name='mmdet')
