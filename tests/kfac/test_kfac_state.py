"""Resume is bitwise, on any number of ranks, and says what it cannot do."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from kfac_nets import (
    PLAIN,
    MixedNet,
    factors_of,
    kfac_of,
    measured_factors,
    mixed_batch,
    train_mixed,
)
from kinds_net import KindsNet
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from ranks import run_ranks
from torch import nn

from agvm_mm import AGVMOptimWrapper
from agvm_mm.kfac.inversion import invert
from agvm_mm.parts import KFACPart

# Factors move between two inversions, and gaps grow: the hardest state to restore.
HARD = dict(
    momentum=0.7,
    statistics_interval=1,
    inverse_interval=3,
    stale_threshold=0.8,
    damping=0.1,
    **PLAIN,
)


def _wrapper(model: nn.Module, kfac: dict[str, Any]) -> AGVMOptimWrapper:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return AGVMOptimWrapper(optimizer, agvm=None, kfac=kfac)


def _run(
    rank: int,
    ranks: int,
    kfac: dict[str, Any],
    stop: int,
    saved: Any = None,
    build: type[nn.Module] = MixedNet,
) -> Any:
    """Updates up to ``stop``, from the start or from what another run has saved."""
    torch.manual_seed(0)
    network = build().train()
    model = MMDistributedDataParallel(network) if ranks > 1 else network
    wrapper = _wrapper(network, kfac)
    begin = 0
    if saved is not None:
        buffer = io.BytesIO(saved)
        checkpoint = torch.load(buffer, weights_only=True)
        network.load_state_dict(checkpoint['network'])
        wrapper.load_state_dict(checkpoint['wrapper'])
        begin = checkpoint['update']
    wrapper.initialize_count_status(model, begin, 100)
    share = 8 // ranks
    for update in range(begin, stop):
        images = range(rank * share, (rank + 1) * share)
        model.train_step(mixed_batch(update, images, torch.float32), wrapper)
    wrapper.part(KFACPart).gather()
    buffer = io.BytesIO()
    content = dict(network=network.state_dict(), wrapper=wrapper.state_dict(), update=stop)
    torch.save(content, buffer)
    return (
        content,
        buffer.getvalue(),
        [layer.clock.gap for layer in wrapper.part(KFACPart).preconditioner.layers],
    )


@pytest.mark.parametrize(('build', 'threshold'), [(MixedNet, 0.8), (KindsNet, 0.3)])
@pytest.mark.parametrize('solver', ['cholesky', 'eigen'])
@pytest.mark.parametrize('stop', [2, 4, 5, 6])
def test_resume_is_bitwise(
    solver: str, stop: int, build: type[nn.Module], threshold: float
) -> None:
    kfac = dict(HARD, solver=solver, stale_threshold=threshold)
    whole, _, gaps = _run(0, 1, kfac, 9, build=build)
    assert len(set(gaps)) > 1, 'the clocks of all layers agree: the schedule is not tested'
    _, saved, _ = _run(0, 1, kfac, stop, build=build)
    resumed, _, _ = _run(0, 1, kfac, 9, saved, build)
    check_equal(whole, resumed)


@pytest.mark.parametrize('solver', ['cholesky', 'eigen'])
def test_tensors_lie_in_memory_as_a_checkpoint_lays_them(solver: str) -> None:
    """Row by row: on some processors the layout decides how a product rounds."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4, 3))
    kfac = measured_factors(network, torch.randn(5, 3, 3, 3), lambda out: out.square().sum(),
                            solver=solver)  # fmt: skip
    assert invert(kfac.layers, kfac.communicator) == []
    for layer in kfac.layers:
        parts = [*layer.factors, *layer.solution]
        assert len(parts) == {'cholesky': 4, 'eigen': 6}[solver]
        assert all(part.is_contiguous() for part in parts)


@pytest.mark.parametrize(
    ('build', 'send'),
    [(MixedNet, 'gradients'), (KindsNet, 'gradients'), (MixedNet, 'solutions')],
)
def test_resume_is_bitwise_on_ranks(build: type[nn.Module], send: str) -> None:
    kfac = dict(HARD, send=send)
    whole = run_ranks(_run, 2, 2, kfac, 7, None, build)[0][0]
    _, saved, _ = run_ranks(_run, 2, 2, kfac, 2, None, build)[0]
    check_solutions(saved)
    first, second = run_ranks(_run, 2, 2, kfac, 7, saved, build)
    check_equal(whole, first[0])
    check_equal(whole['network'], second[0]['network'])


def test_what_owners_send_may_change_at_a_resume() -> None:
    _, saved, _ = run_ranks(_run, 2, 2, dict(HARD, send='solutions'), 2)[0]
    check_solutions(saved)
    expected = run_ranks(_run, 2, 2, dict(HARD, send='solutions'), 7, saved)[0][0]
    found = run_ranks(_run, 2, 2, dict(HARD, send='gradients'), 7, saved)[0][0]
    check_equal(found['network'], expected['network'])


def check_solutions(saved: bytes) -> None:
    """The factors have moved since the last inversion, so solutions must be in the checkpoint."""
    layers = torch.load(io.BytesIO(saved), weights_only=True)['wrapper']['kfac']['layers']
    assert any('solution' in entry for entry in layers.values())


def test_the_number_of_ranks_may_change() -> None:
    _, saved, _ = run_ranks(_run, 2, 2, HARD, 4)[0]
    found, _, _ = _run(0, 1, HARD, 7, saved)
    expected = run_ranks(_run, 2, 2, HARD, 7, saved)[0][0]
    for name, weight in expected['network'].items():
        assert torch.allclose(found['network'][name], weight, rtol=1e-4, atol=1e-6), name


def check_equal(left: Any, right: Any, path: str = '') -> None:
    if isinstance(left, torch.Tensor):
        assert torch.equal(left, right), path
    elif isinstance(left, dict):
        assert left.keys() == right.keys(), path
        for key in left:
            check_equal(left[key], right[key], f'{path}.{key}')
    elif isinstance(left, (list, tuple)):
        assert len(left) == len(right), path
        for index, (a, b) in enumerate(zip(left, right)):
            check_equal(a, b, f'{path}.{index}')
    else:
        assert left == right, path


def test_a_plain_checkpoint_resumes_with_k_fac_and_the_reverse() -> None:
    torch.manual_seed(0)
    network = MixedNet().train()
    plain = OptimWrapper(torch.optim.SGD(network.parameters(), lr=0.1))
    wrapper = _wrapper(network, HARD)
    wrapper.load_state_dict(plain.state_dict())
    wrapper.initialize_count_status(network, 7, 100)
    assert wrapper.updates == 7 and wrapper.part(KFACPart).preconditioner.due
    network.train_step(mixed_batch(0, range(4), torch.float32), wrapper)
    assert all(layer.solved for layer in wrapper.part(KFACPart).preconditioner.layers)
    plain.load_state_dict(wrapper.state_dict())


def test_another_network_is_refused() -> None:
    result = train_mixed(0, 1, updates=1)
    assert set(factors_of(result)) == {layer.name for layer in kfac_of(MixedNet()).layers}
    with pytest.raises(ValueError, match=r"layer 'backbone\.1' .* only in the checkpoint"):
        kfac_of(MixedNet(), norms=False).load_state_dict(result['state'])
    with pytest.raises(ValueError, match='version 0'):
        kfac_of(MixedNet()).load_state_dict(dict(result['state'], version=0))


@pytest.mark.parametrize(('before', 'after'), [(5000, 30), (30, 5000), (30, 60)])
def test_another_max_size_is_refused(before: int, after: int) -> None:
    """Of the network's factors some have 36, 55 and 73 rows."""
    saved = _run(0, 1, dict(HARD, max_size=before), 2)[1]
    with pytest.raises(ValueError, match=rf'for the layer .*max_size={after}, .*\); resume with'):
        _run(0, 1, dict(HARD, max_size=after), 3, saved)


@pytest.mark.parametrize(('before', 'after'), [(None, 20), (20, None), (20, 36)])
def test_another_max_block_is_refused(before: int | None, after: int | None) -> None:
    saved = _run(0, 1, dict(HARD, max_block=before), 2)[1]
    with pytest.raises(ValueError, match=rf'for the layer .*max_block={after}\); resume with'):
        _run(0, 1, dict(HARD, max_block=after), 3, saved)


@pytest.mark.parametrize('solver', ['cholesky', 'eigen'])
def test_resume_with_blocks_is_bitwise(solver: str) -> None:
    kfac = dict(HARD, solver=solver, max_block=20)
    whole, _, _ = _run(0, 1, kfac, 7)
    _, saved, _ = _run(0, 1, kfac, 4)
    check_equal(whole, _run(0, 1, kfac, 7, saved)[0])


def test_another_max_size_that_changes_no_factor_resumes() -> None:
    """No factor of this network has more than 73 rows."""
    saved = _run(0, 1, HARD, 2)[1]
    resumed = _run(0, 1, dict(HARD, max_size=73), 4, saved)[0]
    check_equal(resumed, _run(0, 1, HARD, 4)[0])
