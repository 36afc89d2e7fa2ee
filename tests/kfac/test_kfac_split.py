"""Factors in blocks: the same as dense factors of which all between the blocks is zero."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from kfac_nets import distance, kfac_of, measured_factors, train_mixed
from ranks import run_ranks
from torch import Tensor, nn

from agvm_mm.kfac import blocks, distribution
from agvm_mm.kfac.inversion import invert

DAMPING = 0.1
CASES: dict[str, tuple[Any, tuple[int, ...], int, list[int], list[int]]] = {
    # module, inputs, max_block, rows of the blocks of A and of G, worked out by hand
    'bias with the last channels': (
        lambda: nn.Conv2d(5, 7, 3, padding=1), (4, 5, 6, 6), 20, [18, 18, 10], [7],
    ),
    'equal blocks': (lambda: nn.Conv2d(4, 6, 3, bias=False), (4, 4, 6, 6), 18, [18, 18], [6]),
    'both factors': (lambda: nn.Conv2d(4, 7, 1, bias=False), (4, 4, 6, 6), 3, [2, 2], [3, 3, 1]),
    'groups': (lambda: nn.Conv2d(6, 4, 3, groups=2), (4, 6, 6, 6), 18, [18, 10], [2]),
    'a kernel above the limit': (lambda: nn.Conv2d(3, 2, 3), (4, 3, 6, 6), 4, [9, 9, 9, 1], [2]),
    'linear': (lambda: nn.Linear(10, 3), (4, 5, 10), 4, [4, 4, 3], [3]),
}  # fmt: skip


def mask(sizes: list[int]) -> Tensor:
    return torch.block_diag(*(torch.ones(size, size) for size in sizes)).bool()


def dense(layer: nn.Module, inputs: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """A and G of every group, without the package."""
    if isinstance(layer, nn.Linear):
        x, g = inputs.flatten(0, 1)[None], gradient.flatten(0, 1)[None]
    else:
        x = nn.functional.unfold(inputs, layer.kernel_size, 1, layer.padding)
        x = x.unflatten(1, (layer.groups, -1)).permute(1, 0, 3, 2).flatten(1, 2)
        g = gradient.flatten(2).unflatten(1, (layer.groups, -1)).permute(1, 0, 3, 2).flatten(1, 2)
    if layer.bias is not None:
        x = torch.cat([x, torch.ones_like(x[..., :1])], 2)
    images = len(inputs)
    return x.mT @ x / images, images**2 * g.mT @ g / g.shape[1]


def inverse(matrix: Tensor, damping: Tensor) -> Tensor:
    return torch.linalg.inv(matrix + damping[:, None, None] * torch.eye(matrix.shape[-1]))


@pytest.mark.parametrize('solver', ['cholesky', 'eigen'])
@pytest.mark.parametrize('case', CASES)
def test_the_gradient_is_that_of_the_masked_factor(case: str, solver: str) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        make, size, limit, left, right = CASES[case]
        torch.manual_seed(0)
        layer, inputs = make(), torch.randn(size)
        with torch.no_grad():
            goal = torch.randn_like(layer(inputs))
        network = nn.Sequential(layer)
        outputs: list[Tensor] = []

        def loss(out: Tensor) -> Tensor:
            out.retain_grad()
            outputs.append(out)
            return (out - goal).square().sum() / len(inputs)

        kfac = measured_factors(
            network, inputs, loss, max_block=limit, solver=solver, damping=DAMPING
        )
        (one,) = kfac.layers
        assert [blocks.block_sizes(shape) for shape in one.helper.shapes] == [left, right]
        assert outputs[0].grad is not None
        a, g = dense(layer, inputs, outputs[0].grad)
        a, g = a * mask(left), g * mask(right)
        matrix = one.helper.matrix()
        assert matrix is not None
        if solver == 'cholesky':
            mean_a, mean_g = (m.diagonal(dim1=1, dim2=2).mean(1) for m in (a, g))
            pi = (mean_a / mean_g).sqrt()
            expected = inverse(g, DAMPING**0.5 / pi) @ matrix @ inverse(a, DAMPING**0.5 * pi)
        else:
            big = torch.stack([torch.kron(p, q) for p, q in zip(g, a)])
            damped = big + DAMPING * torch.eye(big.shape[-1])
            expected = torch.linalg.solve(damped, matrix.flatten(1)).view_as(matrix)
        assert invert(kfac.layers, kfac.communicator) == []
        found = one.precondition(matrix)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
        whole = measured_factors(make_same(layer), inputs, loss, solver=solver, damping=DAMPING)
        invert(whole.layers, whole.communicator)
        if any(len(sizes) > 1 for sizes in (left, right)):
            assert distance(whole.layers[0].precondition(matrix), expected) > 1e-4
    finally:
        torch.set_default_dtype(torch.float32)


def make_same(layer: nn.Module) -> nn.Module:
    return nn.Sequential(layer)


@pytest.mark.parametrize('rows', [1, 9, 46, 100, 2305])
@pytest.mark.parametrize('unit', [1, 9])
@pytest.mark.parametrize('limit', [1, 8, 20, 577, 5000])
def test_blocks_are_whole_channels_within_the_limit_and_few(
    rows: int, unit: int, limit: int
) -> None:
    block = blocks.block_rows(rows, limit, unit)
    sizes = blocks.block_sizes((1, rows, block))
    assert sum(sizes) == rows and min(sizes) > 0
    assert block <= max(limit, unit)
    if len(sizes) > 1:
        assert block % unit == 0
        most = max(1, limit // unit) * unit
        assert len(sizes) == -(-rows // most), 'not more blocks than the limit asks for'


def test_packed_factors_come_back() -> None:
    torch.manual_seed(0)
    for shape in [(2, 46, 18), (1, 36, 18), (3, 5, 5), (2, 7)]:
        factor = torch.zeros(shape)
        if len(shape) == 3:
            for block in blocks.blocks(factor):
                square = torch.randn(block.shape)
                block.copy_(square + square.mT)
        else:
            factor.normal_()
        packed = distribution.pack([factor])
        sizes = blocks.block_sizes(shape) if len(shape) == 3 else []
        numbers = sum(n * (n + 1) // 2 for n in sizes) if sizes else shape[1]
        assert packed.numel() == shape[0] * numbers == distribution.packed_size([shape])
        (back,) = distribution.unpack(packed, [shape])
        assert torch.equal(back, factor)


SPLIT = dict(max_block=20, updates=3)


def _train(rank: int, ranks: int, settings: dict[str, Any]) -> dict[str, Any]:
    return train_mixed(rank, ranks, **settings)


@pytest.mark.parametrize('solver', ['cholesky', 'eigen'])
def test_blocks_on_any_number_of_ranks(solver: str) -> None:
    settings = dict(SPLIT, solver=solver, dtype=torch.float64)
    alone = train_mixed(0, 1, **settings)
    first, second = run_ranks(_train, 2, 2, settings)
    assert torch.equal(first['weights'], second['weights'])
    assert distance(first['weights'], alone['weights']) < 1e-12
    whole = train_mixed(0, 1, updates=3, solver=solver, dtype=torch.float64)
    assert distance(whole['weights'], alone['weights']) > 1e-4


def test_fewer_blocks_cost_more_to_invert() -> None:
    whole, cut = ([(1, 4608, 4608)], [(1, 4608, 576)])
    assert distribution.inversion_cost(whole) == 64 * distribution.inversion_cost(cut)


def test_norm_layers_and_diagonals_are_not_cut() -> None:
    network = nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6))
    kfac = kfac_of(network, max_block=1, max_size=30)
    shapes = [layer.helper.shapes for layer in kfac.layers]
    assert shapes == [[(1, 37), (1, 6, 1)], [(6, 2, 2)]]
