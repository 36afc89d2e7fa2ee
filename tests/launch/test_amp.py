"""--amp chooses the mixed-precision form of the wrapper."""

from __future__ import annotations

from typing import Any

import pytest
from mmengine.config import Config
from mmengine.optim import OptimWrapper

from agvm_mm.launch.errors import LaunchError
from agvm_mm.launch.machine import enable_amp, require_gpu_for_amp


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('agvm_mm.launch.machine.get_device', lambda: 'cuda')


def amp(**wrapper: Any) -> Config:
    cfg = Config(dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1), **wrapper)))
    enable_amp(cfg)
    return cfg.optim_wrapper


@pytest.mark.usefixtures('gpu')
@pytest.mark.parametrize(
    ('plain', 'mixed'),
    [
        ('OptimWrapper', 'AmpOptimWrapper'),
        ('AGVMOptimWrapper', 'AGVMAmpOptimWrapper'),
        ('PartsOptimWrapper', 'PartsAmpOptimWrapper'),
        ('agvm_mm.AGVMOptimWrapper', 'agvm_mm.AGVMAmpOptimWrapper'),
        ('PartsOptimWrapper', 'PartsAmpOptimWrapper'),
        (OptimWrapper, 'AmpOptimWrapper'),
    ],
)
def test_replaces_the_wrapper(plain: Any, mixed: str) -> None:
    wrapper = amp(type=plain)
    assert (wrapper.type, wrapper.loss_scale) == (mixed, 'dynamic')


@pytest.mark.usefixtures('gpu')
def test_a_config_without_type_has_the_plain_wrapper() -> None:
    assert amp().type == 'AmpOptimWrapper'


@pytest.mark.usefixtures('gpu')
def test_a_given_loss_scale_stays() -> None:
    assert amp(type='OptimWrapper', loss_scale=512.0).loss_scale == 512.0


@pytest.mark.usefixtures('gpu')
@pytest.mark.parametrize('name', ['AmpOptimWrapper', 'agvm_mm.AGVMAmpOptimWrapper'])
def test_a_mixed_precision_wrapper_stays(name: str) -> None:
    wrapper = amp(type=name, dtype='bfloat16')
    assert wrapper.type == name
    assert 'loss_scale' not in wrapper


@pytest.mark.usefixtures('gpu')
@pytest.mark.parametrize('name', ['ApexOptimWrapper', 'mine.Wrapper'])
def test_other_wrappers_are_refused(name: str) -> None:
    with pytest.raises(LaunchError, match=f'{name.split(".")[-1]}.*allowed is OptimWrapper, AGVMO'):
        amp(type=name)


def test_needs_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('agvm_mm.launch.machine.get_device', lambda: 'cpu')
    with pytest.raises(LaunchError, match='--amp needs a GPU'):
        amp(type='OptimWrapper')


@pytest.mark.parametrize(
    'name', ['AmpOptimWrapper', 'agvm_mm.AGVMAmpOptimWrapper', 'PartsAmpOptimWrapper']
)
def test_a_config_with_mixed_precision_needs_one_too(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    cfg = Config(dict(optim_wrapper=dict(type=name)))
    for device in ('cuda', 'npu'):
        monkeypatch.setattr('agvm_mm.launch.machine.get_device', lambda device=device: device)
        require_gpu_for_amp(cfg)
    monkeypatch.setattr('agvm_mm.launch.machine.get_device', lambda: 'cpu')
    plain = name.rpartition('.')[2].replace('Amp', '')
    with pytest.raises(LaunchError, match=f"needs a GPU and none was found; allowed is '{plain}'"):
        require_gpu_for_amp(cfg)
    require_gpu_for_amp(Config(dict(optim_wrapper=dict(type=plain))))
    require_gpu_for_amp(Config(dict()))
