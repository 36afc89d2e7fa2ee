"""A run that allows TF32 for its products does not get it for K-FAC's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from kfac_nets import kfac_of
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

PRODUCTS = ('aten.mm', 'aten.bmm', 'aten.baddbmm', 'aten.linalg', 'aten._linalg')


class Switches(TorchDispatchMode):
    """Notes what the backends may use at every product and solution."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, bool]] = []

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = str(function)
        if name.startswith(PRODUCTS):
            self.seen.append((name, allowed()))
        return function(*args, **(kwargs or {}))


def allowed() -> bool:
    """Whether float32 products may be rounded."""
    matmul = torch.backends.cuda.matmul
    if hasattr(torch.backends, 'fp32_precision'):
        return {matmul.fp32_precision, torch.backends.mkldnn.matmul.fp32_precision} != {'ieee'}
    return torch.get_float32_matmul_precision() != 'highest'


@pytest.fixture
def _restored() -> Iterator[None]:
    found = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(found)


@pytest.mark.usefixtures('_restored')
@pytest.mark.parametrize('solver', ['cholesky', 'eigen'])
@pytest.mark.parametrize('precision', ['high', 'medium'])
def test_products_of_factors_are_whole(precision: str, solver: str) -> None:
    network = nn.Sequential(nn.Conv2d(2, 3, 2), nn.GroupNorm(1, 3), nn.Flatten(), nn.Linear(12, 2))
    kfac = kfac_of(network, solver=solver)
    torch.set_float32_matmul_precision(precision)
    with Switches() as plain:
        loss = network(torch.randn(4, 2, 3, 3)).square().sum()
        torch.ones(2, 2) @ torch.ones(2, 2)
    assert plain.seen and all(rounded for _, rounded in plain.seen)
    with kfac.around_backward(0, 1, 4), Switches() as factors:
        loss.backward()
    with Switches() as step:
        kfac.step(0, {})
    names = {name for name, _ in [*factors.seen, *step.seen]}
    inversion = dict(cholesky='aten.linalg_cholesky_ex', eigen='aten._linalg_eigh')[solver]
    assert {'aten.baddbmm_.default', 'aten.bmm.default', f'{inversion}.default'} <= names
    # The backward pass of the Linear is the run's own.
    assert {name for name, rounded in factors.seen if rounded} == {'aten.mm.default'}
    assert not [name for name, rounded in step.seen if rounded]
    assert torch.get_float32_matmul_precision() == precision


@pytest.mark.usefixtures('_restored')
def test_an_error_leaves_the_switch() -> None:
    from agvm_mm.compat import whole_float32

    torch.set_float32_matmul_precision('high')
    with pytest.raises(ZeroDivisionError), whole_float32():
        assert not allowed()
        raise ZeroDivisionError
    assert allowed()
