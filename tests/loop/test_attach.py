"""``attach`` measures and steps as MMEngine's wrapper does, in a loop that says nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from attach_runs import AGVM, COUNTS, Detector, adam, by_attach, by_wrapper, plain, weights, wrapped
from cpu_amp import needs_loss_scaler
from ranks import run_ranks
from torch import Tensor

import agvm_mm
from agvm_mm.kfac.modules import LinearHelper, ModuleHelper
from agvm_mm.parts import AGVMPart

UPDATES = 5
OPTIONS: dict[str, dict[str, Any]] = {
    'agvm': dict(),
    'halves': dict(agvm=dict(AGVM, estimator='half_split')),
    'preconditioned': dict(agvm=dict(AGVM, precondition=True, begin=2)),
    'kfac': dict(kfac=dict(statistics_interval=2, inverse_interval=2, damping=0.1)),
    'kfac alone': dict(agvm=None, kfac=dict(statistics_interval=1, inverse_interval=1)),
}


def both(rank: int, options: dict[str, Any]) -> Any:
    return by_attach(rank, UPDATES, **options), by_wrapper(rank, UPDATES, **options)


def require_equal(found: Any, expected: Any) -> None:
    (state, end), (other, other_end) = found, expected
    torch.testing.assert_close(end, other_end, rtol=1e-12, atol=1e-15)
    assert state['updates'] == other['updates'] == UPDATES
    if 'agvm' not in other:
        return
    assert state['agvm']['images'] == other['agvm']['images'] > 0
    for name, module in other['agvm']['modules'].items():
        assert state['agvm']['modules'][name] == pytest.approx(module, rel=1e-12)
    assert other['agvm']['modules']['bbox_head']['scale'] != 1


@pytest.mark.parametrize('options', OPTIONS.values(), ids=OPTIONS)
def test_one_process_equals_the_wrapper(options: dict[str, Any]) -> None:
    require_equal(*both(0, options))


@pytest.mark.parametrize('kind', ['agvm', 'halves', 'kfac'])
def test_two_ranks_equal_the_wrapper(kind: str) -> None:
    first, second = run_ranks(both, 2, OPTIONS[kind])
    require_equal(*first)
    assert torch.equal(first[0][1], second[0][1]), 'ranks have drifted apart'


def test_measuring_alone_leaves_training_bitwise_plain() -> None:
    model = Detector()
    optimizer = adam(model)
    for _ in plain(model, optimizer, 0, range(UPDATES)):
        pass
    state, end = by_attach(0, UPDATES, agvm=dict(AGVM, interval=1, apply=False))
    assert torch.equal(end, weights(model))
    assert state['agvm']['modules']['bbox_head']['scale'] > 1.02


def hooks_on(model: torch.nn.Module) -> int:
    return sum(
        len(hooks or ())
        for p in model.parameters()
        for hooks in (p._backward_hooks, getattr(p, '_post_accumulate_grad_hooks', None))
    )


def test_hooks_are_on_parameters_only_while_an_update_is_measured() -> None:
    model = Detector()
    optimizer = adam(model)
    options = dict(accumulation=COUNTS, agvm=dict(AGVM, interval=3, begin=1))
    handle = agvm_mm.attach(model, optimizer, **options)
    parameters = len(list(model.parameters()))
    found = [hooks_on(model)]
    for _ in plain(model, optimizer, 0, range(6)):
        found.append(hooks_on(model))
    assert found == [0, 0, 0, 0, parameters, 0, 0]
    handle.load_state_dict(dict(handle.state_dict(), updates=6))
    assert hooks_on(model) == parameters
    handle.detach()
    assert hooks_on(model) == 0
    assert not optimizer._optimizer_step_pre_hooks and not optimizer._optimizer_step_post_hooks
    assert not model._forward_hooks and not model._forward_pre_hooks


def test_after_detach_training_is_plain() -> None:
    model = Detector()
    optimizer = adam(model)
    handle = agvm_mm.attach(model, optimizer, accumulation=COUNTS, agvm=AGVM)
    for _ in plain(model, optimizer, 0, range(3)):
        pass
    handle.detach()
    agvm_mm.attach(model, optimizer, accumulation=COUNTS, agvm=AGVM).detach()
    rates = []
    optimizer.register_step_pre_hook(
        lambda *_: rates.append({group['lr'] for group in optimizer.param_groups})
    )
    for _ in plain(model, optimizer, 0, range(3, 5)):
        pass
    assert handle.updates == 3 and rates == [{0.01}] * 2


def resumed(rank: int, folder: Path) -> tuple[Tensor, Tensor]:
    """Weights after six updates, and after three and three with a checkpoint of rank 0 between."""
    options = dict(agvm=AGVM, kfac=dict(statistics_interval=2, inverse_interval=2, damping=0.1))
    _, whole = by_attach(rank, 6, **options)
    for start, stop in ((0, 3), (3, 6)):
        model = wrapped(Detector())
        optimizer = adam(model)
        handle = agvm_mm.attach(model, optimizer, accumulation=COUNTS, **options)
        if start:
            saved = torch.load(folder / 'end.pth', weights_only=True)
            model.load_state_dict(saved['model'])
            optimizer.load_state_dict(saved['optimizer'])
            handle.load_state_dict(saved['agvm'])
        for _ in plain(model, optimizer, rank, range(start, stop)):
            pass
        state = dict(
            model=model.state_dict(),
            optimizer=optimizer.state_dict(),
            agvm=handle.state_dict(on_all_ranks=True),
        )
        if rank == 0:
            torch.save(state, folder / 'end.pth')
        if dist.is_initialized():
            dist.barrier()
    return whole, weights(model)


def test_a_resumed_run_ends_bitwise_as_an_uninterrupted_one(tmp_path: Path) -> None:
    assert torch.equal(*resumed(0, tmp_path))


def test_so_it_does_on_two_ranks(tmp_path: Path) -> None:
    for whole, end in run_ranks(resumed, 2, tmp_path):
        assert torch.equal(whole, end)


def test_clipping_and_zero_grad_of_the_loop_do_not_disturb_the_measurement() -> None:
    states = []
    for late in (False, True):
        model = Detector()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        handle = agvm_mm.attach(model, optimizer, accumulation=COUNTS, agvm=AGVM)
        for _ in plain(model, optimizer, 0, range(3)):
            if late:
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
        states.append(handle.state_dict())
    assert states[0] == states[1]


def test_figures_of_the_last_update_can_be_read() -> None:
    model = Detector()
    optimizer = adam(model)
    handle = agvm_mm.attach(model, optimizer, accumulation=COUNTS, agvm=AGVM)
    for _ in plain(model, optimizer, 0, range(3)):
        pass
    part = handle.part(AGVMPart)
    assert part is not None
    scalars, scales = handle.scalars(), part.scales(2)
    for i, name in enumerate(('backbone', 'neck', 'bbox_head')):
        assert scalars[f'agvm/scale/{name}'] == scales[i]
        assert scalars[f'agvm/{name}.lr'] == pytest.approx(0.01 * scales[i])
        assert 0 < scalars[f'agvm/phi/{name}'] < 2
    head, _, *rows = handle.table().splitlines()
    assert [cell.strip() for cell in head.strip('|').split('|')][:3] == [
        'module',
        'parameters',
        'phi',
    ]
    assert [row.split('|')[1].strip() for row in rows] == ['backbone', 'neck', 'bbox_head']
    phi, ends, _, scale, _ = rows[2].strip('|').split('|')[2:]
    assert float(phi) == pytest.approx(scalars['agvm/phi/bbox_head'], rel=1e-2)
    low, high = map(float, ends.split(' to '))
    assert low < float(phi) < high
    assert float(scale) == pytest.approx(scales[2], rel=1e-2)


@needs_loss_scaler
def test_calls_are_noted_only_before_passes_that_kfac_measures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Three updates of three passes, the last of them measured; the scaler skips the second."""
    seen: list[int] = []
    original = ModuleHelper.context
    monkeypatch.setattr(
        LinearHelper, 'context', lambda self, inputs: seen.append(micro) or original(self, inputs)
    )
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler('cpu', enabled=False)
    options = dict(measured_passes=1, statistics_interval=1, inverse_interval=1)
    agvm_mm.attach(model, optimizer, accumulation=3, scaler=scaler, agvm=None, kfac=options)
    for micro in range(9):
        (model(torch.ones(4, 2)).square().mean() / 3).backward()
        if micro in (2, 8):
            optimizer.step()
            optimizer.zero_grad()
    assert seen == [2, 5, 8]
