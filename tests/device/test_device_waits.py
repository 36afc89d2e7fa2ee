"""How often a step makes the host wait for the device, by kind of step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from training import ADAMW, EVERY_OTHER, SGD, waits_of_steps
from waits import host_waits

AGVM = dict(type='AGVMOptimWrapper', accumulative_counts=2)
ESTIMATORS = pytest.mark.parametrize('estimator', ['all_pairs', 'half_split'])
KINDS: dict[str, dict[str, Any]] = {
    'foreach': {},
    'one by one': dict(foreach=False),
    'fused': dict(fused=True),
    'capturable': dict(capturable=True),
}


def counts(device: str, steps: int = 8, **config: Any) -> tuple[list[int], list[list[str]]]:
    """Waits of every pass, and their lines for a failure."""
    found = waits_of_steps(device, config, steps)
    return [len(waits) for waits in found], found


def test_the_counter_counts(device: str) -> None:
    values = torch.arange(4.0, device=device)
    mask = values > 1
    many = torch.tensor([5.0, 6.0], device=device)
    host = torch.ones(2)
    with host_waits(device) as none:
        values.mul(2).sum(), torch.zeros(2, device=device), host.to(device, non_blocking=True)
        torch.where(mask, values, 0.0).masked_fill_(mask, 1.0)
        values[1], values[1:].clone(), values.index_select(0, mask.long())
    with host_waits(device) as some:
        values.sum().item(), values.tolist(), values.cpu(), float(values[0]), bool(mask.any())
        torch.tensor([1.0], device=device), host.to(device), mask.nonzero()
        values[mask]
        values[mask] = many
    assert none == []
    assert len(some) == 10, '\n'.join(some)
    assert all('test_device_waits.py' in wait for wait in some), '\n'.join(some)


@pytest.mark.parametrize('precondition', [False, True], ids=['', 'preconditioned'])
@pytest.mark.parametrize('kind', KINDS)
@ESTIMATORS
def test_agvm_waits_once_an_estimate(
    device: str, estimator: str, kind: str, precondition: bool
) -> None:
    agvm = dict(estimator=estimator, precondition=precondition, **EVERY_OTHER)
    found, lines = counts(device, agvm=agvm, optimizer={**ADAMW, **KINDS[kind]}, **AGVM)
    assert found == [0, 1, 0, 0] * 2, lines


@pytest.mark.parametrize(
    'more',
    [
        {},
        dict(kfac=dict(statistics_interval=100, inverse_interval=100, growing_intervals=False)),
    ],
    ids=['', 'kfac'],
)
def test_a_learning_rate_on_the_device_stays_there(device: str, more: dict[str, Any]) -> None:
    optimizer = {**ADAMW, 'capturable': True}
    found, lines = counts(
        device, optimizer=optimizer, rate_on_device=0.01, agvm=EVERY_OTHER, **more, **AGVM
    )
    assert found[-4:] == [0, 1, 0, 0], lines


@ESTIMATORS
def test_mixed_precision_adds_none(device: str, estimator: str) -> None:
    """The scaler itself reads once a step whether a gradient was not finite."""
    scaler = dict(loss_scale=dict(init_scale=1024.0), accumulative_counts=2)
    plain, _ = counts(device, type='AmpOptimWrapper', optimizer=SGD, **scaler)
    assert plain == [0, 1] * 4
    agvm = dict(estimator=estimator, **EVERY_OTHER)
    found, lines = counts(
        device, type='AGVMAmpOptimWrapper', optimizer=SGD, agvm=agvm,
        clip_grad=dict(type='agc'), **scaler,
    )  # fmt: skip
    assert found == [0, 2, 0, 1] * 2, lines


def test_clipping_by_units_waits_never(device: str) -> None:
    found, lines = counts(
        device, type='PartsOptimWrapper', optimizer=SGD, clip_grad=dict(type='agc')
    )
    assert found == [0] * 8, lines


@pytest.mark.parametrize('more', [{}, dict(half=True), dict(kl_clip=1e-3)], ids=str)
@pytest.mark.parametrize('solver', ['cholesky', 'eigen'])
def test_kfac_waits_four_times_a_measurement(
    device: str, solver: str, more: dict[str, Any]
) -> None:
    lengths = dict(statistics_interval=2, inverse_interval=4, growing_intervals=False)
    kfac = dict(solver=solver, **lengths, **more)
    _, lines = counts(device, type='PartsOptimWrapper', optimizer=SGD, kfac=kfac)
    # torch.linalg.eigh reads an error code for every factor that it decomposes.
    others = [[wait for wait in waits if 'linalg.eigh' not in wait] for waits in lines]
    assert [len(waits) for waits in others[4:]] == [4, 0, 3, 0], lines
    assert (lines != others) == (solver == 'eigen')


OPTIMIZERS: dict[str, dict[str, Any]] = {
    'LARS': dict(type='LARSOptimizer', lr=0.1),
    'LAMB': dict(type='LAMBOptimizer', lr=0.01),
    'Adan': dict(type='AdanOptimizer', lr=0.01),
    'Muon': dict(type='MuonOptimizer', lr=0.01),
    'SGD': SGD,
}


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_optimizers_wait_never(device: str, name: str) -> None:
    constructor = dict(constructor='MuonOptimWrapperConstructor') if name == 'Muon' else {}
    found, lines = counts(
        device, optimizer=OPTIMIZERS[name], agvm=EVERY_OTHER, **constructor, **AGVM
    )
    assert found == [0, 1, 0, 0] * 2, lines
