"""Ranks and GPUs, ports and tasks of Slurm, on a machine that claims to have GPUs."""

from __future__ import annotations

import os

import pytest

from agvm_mm.launch.devices import PORTS, prepare_devices
from agvm_mm.launch.errors import LaunchError


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of GPUs, to be changed by the test."""
    number = [1]
    monkeypatch.setattr('torch.cuda.is_available', lambda: number[0] > 0)
    monkeypatch.setattr('torch.cuda.device_count', lambda: number[0])
    for name in ('MASTER_PORT', 'LOCAL_RANK', 'SLURM_LOCALID', 'SLURM_GPUS_PER_TASK'):
        monkeypatch.setenv(name, '')
        monkeypatch.delenv(name)
    return number


def test_a_rank_without_a_gpu_is_told_so(gpus: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('LOCAL_RANK', '1')
    with pytest.raises(LaunchError, match='^LOCAL_RANK is 1 and this machine shows 1 GPU, so'):
        prepare_devices('pytorch')
    gpus[0] = 2
    prepare_devices('pytorch')
    gpus[0] = 0
    prepare_devices('pytorch')
    prepare_devices('none')


@pytest.mark.usefixtures('gpus')
def test_every_job_of_slurm_has_a_port_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for job in ('41', '42'):
        monkeypatch.setenv('SLURM_JOB_ID', job)
        monkeypatch.delenv('MASTER_PORT', raising=False)
        prepare_devices('slurm')
        found.append(int(os.environ['MASTER_PORT']))
    assert found == [PORTS[41], PORTS[42]]
    monkeypatch.setenv('MASTER_PORT', '29501')
    prepare_devices('slurm')
    assert os.environ['MASTER_PORT'] == '29501'


def test_a_task_that_sees_one_gpu_takes_it(
    gpus: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('SLURM_LOCALID', '3')
    monkeypatch.setenv('LOCAL_RANK', '3')
    with pytest.raises(LaunchError, match='^SLURM_LOCALID is 3'):
        prepare_devices('slurm')
    monkeypatch.setenv('SLURM_GPUS_PER_TASK', '1')
    prepare_devices('slurm')
    assert (os.environ['SLURM_LOCALID'], os.environ['LOCAL_RANK']) == ('0', '0')
    gpus[0] = 4
    monkeypatch.setenv('SLURM_LOCALID', '3')
    prepare_devices('slurm')
    assert os.environ['SLURM_LOCALID'] == '3'
