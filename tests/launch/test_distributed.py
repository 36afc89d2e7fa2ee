"""What a config needs changed where there is no GPU, and who counts the ranks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from listening import listening_addresses, reserved_port
from mmengine.config import Config
from torch import nn

from agvm_mm.launch import machine
from agvm_mm.launch.errors import LaunchError
from agvm_mm.launch.machine import count_ranks, prepare_cpu, set_local_rank


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Records the process groups that would be started; no GPU, no launcher's variables."""
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(machine, 'get_device', lambda: 'cpu')

    def record(*args: Any, **options: Any) -> None:
        calls.append(dict(args=args, **options))

    monkeypatch.setattr(machine.dist, 'init_process_group', record)
    for names in machine.VARIABLES.values():
        for name in (*names, 'MASTER_ADDR', 'MASTER_PORT', 'GLOO_SOCKET_IFNAME'):
            # Set first, so that what the code sets itself is taken back as well.
            monkeypatch.setenv(name, '')
            monkeypatch.delenv(name)
    return calls


@pytest.fixture
def torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    values = dict(WORLD_SIZE='4', RANK='1', LOCAL_RANK='1', MASTER_ADDR='127.0.0.1')
    values['TORCHELASTIC_USE_AGENT_STORE'] = 'True'
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def prepared(**entries: Any) -> tuple[Config, list[str]]:
    cfg = Config(dict(launcher='pytorch', **entries))
    return cfg, [note.text for note in prepare_cpu(cfg)]


@pytest.mark.usefixtures('torchrun')
def test_sync_bn_becomes_bn_wherever_it_is() -> None:
    norm = dict(type='SyncBN', requires_grad=True)
    model = dict(
        backbone=dict(norm_cfg=norm),
        heads=[dict(norm_cfg=dict(type='mmcv.MMSyncBN')), dict(norm_cfg=dict(type='GN'))],
        neck=(dict(norm_cfg=dict(type=nn.SyncBatchNorm)),),
    )
    cfg, notes = prepared(model=model, norm_cfg=norm, sync_bn='torch')
    assert cfg.model.backbone.norm_cfg == dict(type='BN', requires_grad=True)
    assert [head.norm_cfg.type for head in cfg.model.heads] == ['BN', 'GN']
    assert cfg.model.neck[0].norm_cfg.type == 'BN'
    assert cfg.norm_cfg.type == 'BN'
    assert cfg.sync_bn is None
    assert len(notes) == 1
    assert 'becomes BN' in notes[0]


@pytest.mark.usefixtures('torchrun')
@pytest.mark.parametrize('given', [{}, dict(use_syncbn=True)])
def test_a_detector_that_converts_its_own_layers_leaves_them(given: dict[str, Any]) -> None:
    """MMDetection's RTMDet makes SyncBN of every BN on several ranks, whatever the config says."""
    detector = dict(type='mmdet.RTMDet', backbone=dict(norm_cfg=dict(type='BN')), **given)
    cfg, notes = prepared(model=dict(type='SemiBaseDetector', detector=detector))
    assert cfg.model.detector.use_syncbn is False
    assert len(notes) == 1 and 'becomes BN' in notes[0]
    cfg, notes = prepared(model=dict(type='RTMDet', use_syncbn=False))
    assert cfg.model.use_syncbn is False and notes == []


@pytest.mark.usefixtures('torchrun')
def test_a_config_without_sync_bn_needs_no_warning() -> None:
    assert prepared(model=dict(norm_cfg=dict(type='BN')))[1] == []


@pytest.mark.usefixtures('torchrun')
def test_the_model_wrapper_has_no_device() -> None:
    cfg, _ = prepared(find_unused_parameters=True)
    assert cfg.model_wrapper_cfg == dict(
        type='MMDistributedDataParallel',
        device_ids=None,
        broadcast_buffers=False,
        find_unused_parameters=True,
    )


@pytest.mark.usefixtures('torchrun')
def test_keys_of_the_user_stay() -> None:
    given = dict(type='Mine', static_graph=True, broadcast_buffers=True)
    cfg, _ = prepared(model_wrapper_cfg=given)
    assert cfg.model_wrapper_cfg == {**given, 'device_ids': None, 'find_unused_parameters': False}


@pytest.mark.usefixtures('torchrun')
def test_flexible_runner_has_the_wrapper_in_its_strategy() -> None:
    cfg, _ = prepared(runner_type='FlexibleRunner', find_unused_parameters=True)
    assert cfg.strategy.type == 'DDPStrategy'
    assert cfg.strategy.model_wrapper.device_ids is None
    assert cfg.strategy.model_wrapper.find_unused_parameters is True
    cfg, _ = prepared(
        runner_type='FlexibleRunner',
        strategy=dict(type='DDPStrategy', model_wrapper=dict(static_graph=True)),
    )
    assert cfg.strategy.model_wrapper.static_graph is True
    assert cfg.strategy.model_wrapper.device_ids is None
    cfg, _ = prepared(runner_type='FlexibleRunner', strategy=dict(type='FSDPStrategy'))
    assert cfg.strategy == dict(type='FSDPStrategy')


@pytest.mark.usefixtures('torchrun')
def test_gloo_is_started_on_the_loopback(started: list[dict[str, Any]]) -> None:
    prepared(env_cfg=dict(dist_cfg=dict(backend='nccl', timeout=60)))
    (call,) = started
    assert call['args'] == ('gloo',)
    assert call['timeout'].total_seconds() == 60
    assert os.environ['GLOO_SOCKET_IFNAME'] in ('lo', 'lo0')
    assert os.environ['MASTER_PORT'] == '29500'


@pytest.mark.skipif(not Path('/proc/net/tcp6').is_file(), reason='reads the tables of Linux')
@pytest.mark.usefixtures('torchrun')
def test_without_the_store_of_torchrun_rank_0_listens_on_the_loopback(
    started: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in dict(WORLD_SIZE='1', RANK='0', LOCAL_RANK='0').items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv('TORCHELASTIC_USE_AGENT_STORE')
    before = listening_addresses(os.getpid())
    port = reserved_port()
    monkeypatch.setenv('MASTER_PORT', str(port))
    prepared()
    (call,) = started
    assert (call['rank'], call['world_size'], call['store'].port) == (0, 1, port)
    found = listening_addresses(os.getpid())
    assert len(found) == len(before) + 1 and '::' not in found and '0.0.0.0' not in found


@pytest.mark.usefixtures('torchrun')
def test_between_machines_gloo_chooses_its_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('MASTER_ADDR', '10.0.0.1')
    prepared()
    assert 'GLOO_SOCKET_IFNAME' not in os.environ


def test_one_process_or_a_gpu_needs_nothing(
    started: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = dict(norm_cfg=dict(type='SyncBN'))
    alone = Config(dict(launcher='none', model=sync))
    assert prepare_cpu(alone) == []
    monkeypatch.setattr(machine, 'get_device', lambda: 'cuda')
    cfg, notes = prepared(model=sync)
    assert notes == []
    assert cfg.model.norm_cfg.type == 'SyncBN'
    assert 'model_wrapper_cfg' not in cfg
    assert started == []


def test_slurm_and_mpi_variables_reach_torch(
    started: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('MASTER_ADDR', 'node0')
    for value, name in zip(('6', '5', '1'), machine.VARIABLES['mpi']):
        monkeypatch.setenv(name, value)
    assert count_ranks('mpi') == 6
    prepare_cpu(Config(dict(launcher='mpi')))
    assert [os.environ[name] for name in ('WORLD_SIZE', 'RANK', 'LOCAL_RANK')] == ['6', '5', '1']
    assert len(started) == 1


def test_mpi_needs_the_address_of_rank_0(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in machine.VARIABLES['mpi']:
        monkeypatch.setenv(name, '0')
    with pytest.raises(LaunchError, match='mpi needs MASTER_ADDR'):
        prepare_cpu(Config(dict(launcher='mpi')))


@pytest.mark.usefixtures('torchrun')
def test_ranks_are_counted() -> None:
    assert count_ranks('none') == 1
    assert count_ranks('pytorch') == 4


def test_a_launcher_that_did_not_launch() -> None:
    with pytest.raises(LaunchError, match='--launcher slurm was given but SLURM_NTASKS is not in'):
        count_ranks('slurm')


def test_the_local_rank_comes_from_the_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('SLURM_LOCALID', '3')
    set_local_rank('slurm', 7)
    assert os.environ['LOCAL_RANK'] == '3'
    set_local_rank('none', 7)
    assert os.environ['LOCAL_RANK'] == '3'
    monkeypatch.delenv('LOCAL_RANK')
    set_local_rank('none', 7)
    assert os.environ['LOCAL_RANK'] == '7'
