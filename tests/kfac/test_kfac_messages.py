"""What K-FAC says while it runs, and what it makes of another run's state."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from kfac_nets import PLAIN, MixedNet, mixed_batch
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from odd_layers import OddNet, odd_batch
from torch import Tensor, nn

from agvm_mm import AGVMOptimWrapper
from agvm_mm.parts import KFACPart

KFAC = dict(PLAIN, momentum=0.5, statistics_interval=1, inverse_interval=1, damping=0.1)


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Any:
    """Warnings so far, of MMEngine's logger."""
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    yield lambda: [r.getMessage() for r in caplog.records if r.levelname == 'WARNING']
    logger.removeHandler(caplog.handler)


def bound(network: nn.Module | None = None, saved: Any = None, **kfac: Any) -> Any:
    """A network and its wrapper, with another wrapper's state if given."""
    torch.manual_seed(0)
    network = network or MixedNet().double().train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    wrapper = AGVMOptimWrapper(optimizer, agvm=None, kfac={**KFAC, **kfac})
    if saved is not None:
        wrapper.load_state_dict(saved)
    wrapper.initialize_count_status(network, 0, 100)
    return network, wrapper


def train(network: Any, wrapper: Any, updates: range) -> None:
    for update in updates:
        network.train_step(mixed_batch(update, range(8), torch.float64), wrapper)


class Blind(BaseModel):
    """Its data preprocessor receives images under another name."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, pictures: Tensor, mode: str = 'tensor') -> Any:
        return dict(loss=self.layer(pictures).square().mean())


def test_a_batch_that_shows_no_images_is_refused() -> None:
    network, wrapper = bound(Blind().train())
    with pytest.raises(RuntimeError, match="needs the number of images .* under 'inputs'"):
        network.train_step(dict(pictures=torch.ones(2, 3)), wrapper)


def test_factors_that_are_not_finite_are_warned_of_once(warnings: Any) -> None:
    network, wrapper = bound()
    train(network, wrapper, range(1))
    kfac = wrapper.part(KFACPart).preconditioner
    factors_of = lambda: [layer.factors for layer in kfac.layers]  # noqa: E731
    before = [[factor.clone() for factor in factors] for factors in factors_of()]
    helper = kfac.layers[0].helper
    hooked = helper.add
    helper.add = lambda sums, context, gradient: hooked(sums, context * float('inf'), gradient)
    assert warnings() == []
    train(network, wrapper, range(1, 3))
    assert kfac.skipped == 2
    (text,) = warnings()
    assert 'K-FAC: factors were not finite at update 1; all ranks keep the previous ones.' in text
    for factors, old in zip(factors_of(), before, strict=True):
        assert all(map(torch.equal, factors, old))


@pytest.mark.parametrize('kind', ['functional', 'linear'])
def test_a_weight_without_calls_is_warned_of_once(kind: str, warnings: Any) -> None:
    network, wrapper = bound(OddNet([kind]).double().train())
    for update in range(3):
        network.train_step(odd_batch(update, range(8), torch.float64), wrapper)
    said = (
        'K-FAC: 2 tensors keep their gradient, used without a call of their module, as by F.linear '
        'or F.conv2d: layers.0.bias, layers.0.weight.'
    )
    assert warnings() == ([said] if kind == 'functional' else [])


def test_a_checkpoint_without_factors_is_warned_of(warnings: Any) -> None:
    network, wrapper = bound()
    train(network, wrapper, range(1))
    saved = wrapper.state_dict()
    bound(saved=saved)
    assert warnings() == []
    for entry in saved['kfac']['layers'].values():
        del entry['factors']
    network, wrapper = bound(saved=saved)
    (text,) = warnings()
    assert 'the checkpoint holds no factors; they are measured at the next update' in text
    assert "dict(type='KFACStateHook')" in text
    train(network, wrapper, range(1, 2))
    assert all(layer.solved for layer in wrapper.part(KFACPart).preconditioner.layers)


@pytest.mark.parametrize(('solver', 'other'), [('cholesky', 'eigen'), ('eigen', 'cholesky')])
def test_another_solver_goes_on_from_the_factors(solver: str, other: str) -> None:
    """They have moved since the last inversion, so the checkpoint holds solutions of no use."""
    network, wrapper = bound(solver=solver, inverse_interval=3)
    train(network, wrapper, range(2))
    saved = wrapper.state_dict()
    assert all('solution' in entry for entry in saved['kfac']['layers'].values())
    network, resumed = bound(saved=saved, solver=other, inverse_interval=3)
    kfac = resumed.part(KFACPart).preconditioner
    before, layer = (
        next(layer for layer in one.layers if layer.name == 'head')
        for one in (wrapper.part(KFACPart).preconditioner, kfac)
    )
    gradients = [torch.randn_like(p) for p in layer.parameters]
    matrix = torch.cat([gradients[0], gradients[1][:, None]], 1)
    a, g = (factor[0] for factor in before.factors)
    if other == 'eigen':
        damped = torch.kron(g, a) + 0.1 * torch.eye(a.shape[0] * g.shape[0], dtype=a.dtype)
        expected = torch.linalg.solve(damped, matrix.reshape(-1)).reshape(matrix.shape)
    else:
        pi = ((a.trace() / len(a)) / (g.trace() / len(g))).sqrt()
        left = torch.linalg.inv(g + 0.1**0.5 / pi * torch.eye(len(g), dtype=g.dtype))
        right = torch.linalg.inv(a + 0.1**0.5 * pi * torch.eye(len(a), dtype=a.dtype))
        expected = left @ matrix @ right
    expected = torch.cat([expected[:, :-1].flatten(), expected[:, -1]])  # weight, then bias
    torch.testing.assert_close(layer.apply(gradients), expected, rtol=1e-9, atol=1e-12)
    assert all(layer.solved and layer.fresh for layer in kfac.layers)
    train(network, resumed, range(2, 4))
    assert all(p.isfinite().all() for p in network.parameters())
