"""How often K-FAC makes the host wait for a number from the device."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from kfac_nets import MixedNet, kfac_of, mixed_batch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch_versions import since_2_2

from agvm_mm.kfac import scalars

# What a device has to finish for: numbers that Python reads, shapes that depend on numbers, copies.
READS = {
    *(getattr(Tensor, name) for name in ('item', 'tolist', 'cpu', 'numpy', 'nonzero')),
    *(getattr(Tensor, f'__{name}__') for name in ('bool', 'float', 'int', 'index')),
    *(Tensor.masked_select, torch.masked_select, torch.nonzero, torch.unique, Tensor.unique),
    *(Tensor.masked_scatter, Tensor.masked_scatter_),
}
UPLOADS = {torch.tensor, torch.as_tensor}


class _Waits(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        masked = func in (Tensor.__getitem__, Tensor.__setitem__) and any(
            isinstance(key, Tensor) and key.dtype == torch.bool
            for key in (args[1] if isinstance(args[1], tuple) else (args[1],))
        )
        if func in READS or masked or (func in UPLOADS and kwargs.get('device') is not None):
            self.names.append(getattr(func, '__name__', str(func)))
        return func(*args, **kwargs)


def waits(kfac: Any, network: Any, update: int) -> list[str]:
    rates = {id(p): 0.1 for p in network.parameters()}
    kfac.before_update(update)
    loss = network(**mixed_batch(update, range(4), torch.float32), mode='loss')['loss']
    with _Waits() as found:
        with kfac.around_backward(0, 1, 4):
            loss.backward()
        kfac.step(update, rates)
        kfac.after_step()
        if kfac.due:
            scalars(kfac, {id(p): 'network' for p in network.parameters()})
    return found.names


@pytest.mark.parametrize(
    'settings', [{}, dict(kl_clip=1e-3), dict(rescale_weights=True), dict(max_block=20)]
)
@pytest.mark.parametrize('solver', ['cholesky', 'eigen'])
def test_at_most_four_reads_a_measurement_and_none_else(
    settings: dict[str, Any], solver: str
) -> None:
    """Positions, the verdict on the factors, that on the inverses, and the figures of the log."""
    torch.manual_seed(0)
    network = MixedNet().train()
    kfac = kfac_of(network, statistics_interval=2, inverse_interval=4, solver=solver, **settings)
    assert waits(kfac, network, 0) == ['tolist'] * 4
    assert waits(kfac, network, 1) == []
    assert waits(kfac, network, 2) == ['tolist'] * 3
    assert waits(kfac, network, 3) == []
    assert waits(kfac, network, 4) == ['tolist'] * 4


@since_2_2  # which tells a function mode of an index
def test_the_counter_counts() -> None:
    values = torch.arange(3.0)
    with _Waits() as found:
        float(values.sum()), bool(values.any()), values[values > 1], values.cpu()
    assert found.names == ['__float__', '__bool__', '__getitem__', 'cpu']
