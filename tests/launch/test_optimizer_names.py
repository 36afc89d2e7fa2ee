"""The bare name of an optimizer of this package in a config is answered with the right one."""

from __future__ import annotations

from typing import Any

import pytest
from mmengine.config import Config
from mmengine.registry import OPTIMIZERS
from torch.optim import SGD

import agvm_mm  # noqa: F401  registers the optimizers
from agvm_mm.launch.errors import LaunchError
from agvm_mm.launch.runner import TrainOptions, prepare_training
from agvm_mm.optimizers.library import require_registered


def _config(kind: Any) -> Config:
    wrapper = dict(type='AGVMOptimWrapper', optimizer=dict(type=kind, lr=0.1))
    return Config(dict(launcher='none', default_scope='mmengine', optim_wrapper=wrapper))


@pytest.mark.parametrize('name', ['Adan', 'LAMB', 'LARS', 'SOAP'])
def test_a_bare_name_is_refused_in_one_sentence(name: str) -> None:
    sentence = (
        f"optim_wrapper.optimizer.type is '{name}', which is not registered; set it to "
        f"'{name}Optimizer', the one of agvm_mm."
    )
    with pytest.raises(LaunchError) as refusal:
        prepare_training(_config(name), TrainOptions())
    assert str(refusal.value) == sentence
    assert f'{name}Optimizer' in OPTIMIZERS


def test_torchs_muon_is_answered_with_ours() -> None:
    with pytest.raises(LaunchError, match="'MuonOptimizer'.*'MuonOptimWrapperConstructor'"):
        prepare_training(_config('Muon'), TrainOptions())


@pytest.mark.parametrize('kind', ['SGD', 'LAMBOptimizer', SGD, None])
def test_other_types_are_left_to_mmengine(kind: Any) -> None:
    require_registered(kind, 'mmengine')


def test_an_optimizer_of_somebody_else_is_not_called_ours() -> None:
    OPTIMIZERS.register_module(name='ForeignOptimizer', module=SGD)
    try:
        require_registered('Foreign', 'mmengine')
    finally:
        OPTIMIZERS.module_dict.pop('ForeignOptimizer')


@pytest.mark.parametrize('name', ['Adan', 'LAMB', 'LARS', 'Muon', 'SOAP'])
def test_a_name_that_someone_registered_is_theirs(name: str) -> None:
    before = OPTIMIZERS.module_dict.get(name)
    OPTIMIZERS.register_module(name=name, module=SGD, force=True)
    try:
        require_registered(name, 'mmengine')
    finally:
        OPTIMIZERS.module_dict.pop(name)
        if before is not None:
            OPTIMIZERS.register_module(name=name, module=before)
