"""A scoped name finds the package by itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from mmengine import registry as mmengine_registry

import agvm_mm.registry
from agvm_mm import AGVMOptimWrapper

ROOT = Path(__file__).resolve().parents[1]

BUILD = """
import sys
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from torch import nn

if {scope!r}:
    DefaultScope.get_instance('test', scope_name={scope!r})
assert 'agvm_mm' not in sys.modules
model = nn.ModuleDict(dict(backbone=nn.Linear(1, 1), head=nn.Linear(1, 1)))
config = dict(type='agvm_mm.AGVMOptimWrapper', accumulative_counts=2,
              optimizer=dict(type='agvm_mm.LAMBOptimizer', lr=0.1))
wrapper = build_optim_wrapper(model, config)
print(type(wrapper).__name__, type(wrapper.optimizer).__name__)
"""


@pytest.mark.parametrize('scope', ['', 'mmdet'])
def test_scoped_names_need_no_custom_imports(scope: str) -> None:
    run = subprocess.run(
        [sys.executable, '-c', BUILD.format(scope=scope)], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split()[-2:] == ['AGVMOptimWrapper', 'LAMBOptimizer']


def test_every_registry_of_our_components_has_a_child() -> None:
    kinds = {
        name
        for name in dir(mmengine_registry)
        if isinstance(root := getattr(mmengine_registry, name), mmengine_registry.Registry)
        and any(one.__module__.startswith('agvm_mm') for one in root.module_dict.values())
    }
    assert kinds and all(hasattr(agvm_mm.registry, kind) for kind in kinds)


def test_a_scoped_name_is_the_same_class() -> None:
    found = mmengine_registry.OPTIM_WRAPPERS.get('agvm_mm.AGVMOptimWrapper')
    assert found is AGVMOptimWrapper
