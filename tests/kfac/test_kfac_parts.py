"""The small parts: packing, assignment, clock, rescaling, the paper's momentum."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kfac_nets import kfac_of
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from agvm_mm.kfac import triangle
from agvm_mm.kfac.clock import Clock
from agvm_mm.kfac.distribution import assign, inversion_cost, pack, packed_size, unpack
from agvm_mm.kfac.kl_clip import kl_multiplier
from agvm_mm.kfac.solve import damped_inverse, pair_inverse


class TestPacking:
    @pytest.mark.parametrize('shape', [(1, 7, 7), (3, 4, 4), (1, 1, 1), (5, 2, 2), (2, 9)])
    def test_there_and_back(self, shape: tuple[int, ...]) -> None:
        factor = torch.randn(shape)
        factor = factor + factor.mT if len(shape) == 3 else factor
        vector = pack([factor, factor])
        assert len(vector) == 2 * packed_size([shape])
        for found in unpack(vector, [shape, shape]):
            assert torch.equal(found, factor)

    def test_the_order_is_row_by_row(self) -> None:
        """Entry (row, column) is number row (row + 1)/2 + column; 28 of them for 7 rows."""
        rows, columns = torch.meshgrid(torch.arange(7), torch.arange(7), indexing='ij')
        index = torch.maximum(rows, columns) * (torch.maximum(rows, columns) + 1) // 2
        factor = (index + torch.minimum(rows, columns)).float()
        assert packed_size([(1, 7, 7)]) == 28
        assert torch.equal(pack([factor[None]]), torch.arange(28.0))


class TestAssignment:
    @settings(max_examples=50)
    @given(st.lists(st.integers(1, 1000), min_size=1, max_size=8), st.integers(1, 3))
    def test_graham(self, costs: list[int], ranks: int) -> None:
        def busiest(owners: tuple[int, ...]) -> int:
            return max(sum(c for c, o in zip(costs, owners) if o == r) for r in range(ranks))

        best = min(busiest(owners) for owners in product(range(ranks), repeat=len(costs)))
        found = assign(costs, ranks)
        assert set(found) <= set(range(ranks))
        assert busiest(tuple(found)) <= best * (4 / 3 - 1 / (3 * ranks)) + 1e-9

    def test_cost(self) -> None:
        assert inversion_cost([(2, 10, 10), (1, 500)]) == 2 * 1000 + 500


class TestSchedule:
    def test_fixed_gaps(self) -> None:
        clock = Clock(5)
        due = []
        for update in range(21):
            if clock.due(update):
                due.append(update)
                clock.measured(update, 0.0)
        assert due == [0, 5, 10, 15, 20]

    def test_growing_gaps(self) -> None:
        """Every update up to 10, every second up to 20, every third up to 30, then every fourth."""
        clock = Clock(4, growing=True)
        due = []
        for update in range(41):
            if clock.due(update):
                due.append(update)
                clock.measured(update, 0.0)
        assert due == [*range(10), 10, 12, 14, 16, 18, 21, 24, 27, 32, 36, 40]

    def test_a_growing_run_measures_and_inverts_at_first(self) -> None:
        network = nn.Linear(1, 1, bias=False)
        kfac = kfac_of(network, statistics_interval=10, inverse_interval=30, growing_intervals=True)
        measured, inverted = [], []
        for update in range(45):
            kfac.before_update(update)
            before = kfac.layers[0].solution
            with kfac.around_backward(0, 1, 4):
                (network(torch.full((4, 1), 1.0 + update))).mean().backward()
            measured += [update] * kfac.step(update, {})
            inverted += [update] * (kfac.layers[0].solution is not before)
        first = [*range(10), *range(10, 20, 2), 21, 24, 27]
        assert measured == [*first, 32, 36, 40]
        assert inverted == [*first, 32, 36, 40]

    def test_gaps_grow_and_halve(self) -> None:
        """In units of the interval: 1, 2, 3, 5, 8 while still; 8 becomes 4, 2, 1 on a change."""
        clock = Clock(10, threshold=0.1)
        gaps = []
        update = 0
        for change in [0.05] * 4 + [0.5] * 4 + [0.05] * 2:
            assert clock.due(update)
            clock.measured(update, change)
            gaps.append(clock.gap)
            assert not clock.due(update + 10 * gaps[-1] - 10)
            update += 10 * gaps[-1]
        assert gaps == [2, 3, 5, 8, 4, 2, 1, 1, 2, 3]

    @pytest.mark.parametrize(('growth', 'expected'), [(1.0, 7), (3.0, 40)])
    def test_a_still_layer_is_measured_more_rarely(self, growth: float, expected: int) -> None:
        """The first measurement counts as a change; then gaps of 2, 3, 5, 8, 13 and 21 updates.

        A gradient that grows at every update keeps the gap at 1, whatever its size.
        """
        torch.manual_seed(0)
        network, inputs = nn.Linear(3, 2), torch.randn(64, 3)
        kfac = kfac_of(network, momentum=0.9, stale_threshold=0.05)
        count = 0
        for update in range(40):
            kfac.before_update(update)
            count += kfac.due
            with kfac.around_backward(0, 1, 64):
                (network(inputs) * (growth**update * 1e-8)).sum().backward()
            kfac.step(update, {})
        assert count == expected and kfac.skipped == 0


def test_factors_are_moving_averages() -> None:
    """Inputs of 1 and then 2: A is 1, then 0.9 x 1 + 0.1 x 4; gradients of 1 and 3: G likewise."""
    network = nn.Linear(1, 1, bias=False)
    kfac = kfac_of(network, momentum=0.9)
    found = []
    for update, (value, slope) in enumerate([(1.0, 1.0), (2.0, 3.0)]):
        kfac.before_update(update)
        with kfac.around_backward(0, 1, 4):
            (slope * network(torch.full((4, 1), value))).mean().backward()
        kfac.step(update, {})
        found.append([float(factor) for factor in kfac.layers[0].factors])
    assert found == [pytest.approx([1.0, 1.0]), pytest.approx([1.3, 1.8])]


class TestSolve:
    def test_a_factor_without_a_cholesky_decomposition(self) -> None:
        factor = torch.diag(torch.tensor([4.0, 1.0, -0.5]))[None]
        assert damped_inverse(factor, 0.25, torch.float32).isnan().all()
        found = damped_inverse(factor, 0.25, torch.float32, thorough=True)
        assert torch.allclose(found[0].diagonal(), torch.tensor([1 / 4.25, 1 / 1.25, 1 / 0.25]))
        network = nn.Linear(3, 1, bias=False)
        kfac = kfac_of(network, damping=0.0625)
        (layer,) = kfac.layers
        layer.factors, layer.measured = [factor, torch.full((1, 1, 1), 1.5)], True  # pi is 1
        kfac.before_update(1)
        (inverse, _), expected = layer.solution, torch.tensor([1 / 4.25, 1 / 1.25, 1 / 0.25])
        assert kfac.unsolved == [] and torch.allclose(inverse[0].diagonal(), expected)

    def test_the_inverse_of_a_diagonal(self) -> None:
        """What rounding has left below zero counts as zero."""
        factor = torch.tensor([[0.5, 3.0], [-1e-9, 0.0]])
        found = damped_inverse(factor, torch.tensor([0.5, 0.25]), torch.float32)
        assert found.tolist() == [[pytest.approx(1.0), pytest.approx(1 / 3.5)], [4.0, 4.0]]

    def test_kl_clip(self) -> None:
        assert float(kl_multiplier(torch.tensor(0.5), 2.0)) == 1.0
        assert float(kl_multiplier(torch.tensor(8.0), 2.0)) == 0.5
        assert float(kl_multiplier(torch.tensor(0.0), 2.0)) == 1.0

    def test_kl_clip_bounds_the_step(self) -> None:
        torch.manual_seed(0)
        network = nn.Linear(3, 2).double()
        inputs = torch.randn(8, 3, dtype=torch.float64)
        steps = {}
        for limit in (None, 1e-4):
            network.zero_grad()
            kfac = kfac_of(network, kl_clip=limit)
            with kfac.around_backward(0, 1, 8, loss_scale=1024.0):
                (1024 * network(inputs).square().sum() / 8).backward()
            plain = kfac.layers[0].helper.matrix() / 1024
            kfac.step(0, {id(p): 0.5 for p in network.parameters()}, 1024.0)
            steps[limit] = kfac.layers[0].helper.matrix() / 1024, plain, kfac.kl_multiplier
        free, gradient, one = steps[None]
        bound, _, scale = steps[1e-4]
        assert one == 1.0 and scale < 1.0
        assert torch.allclose(bound, free * scale)
        assert float(0.5**2 * (free * gradient).sum()) * scale**2 == pytest.approx(1e-4)


def test_weights_are_only_shrunk() -> None:
    network = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2), nn.LayerNorm(2))
    network[0].weight.data.fill_(1.0)  # length sqrt(32) against a bound of sqrt(16)
    network[1].weight.data.fill_(0.1)  # 0.4 against 2
    network[2].weight.data.fill_(9.0)
    kfac_of(network, rescale_weights=True).after_step()
    assert network[0].weight.norm().item() == pytest.approx(4.0)
    assert torch.equal(network[1].weight.data, torch.full((2, 8), 0.1))
    assert torch.equal(network[2].weight.data, torch.full((2,), 9.0))


def test_the_papers_adjusted_momentum_is_torchs_own() -> None:
    """Velocity v = m' v - lr g, with m' = m lr/lr_before where the rate falls: torch's SGD.

    Torch keeps v / lr and multiplies with the present rate, which is the same.
    """
    rates, gradients = [0.5, 0.5, 0.4, 0.1, 0.02], torch.randn(5, 3, dtype=torch.float64)
    weight = nn.Parameter(torch.zeros(3, dtype=torch.float64))
    optimizer = torch.optim.SGD([weight], lr=1.0, momentum=0.9)
    position, velocity, before = torch.zeros(3, dtype=torch.float64), 0.0, rates[0]
    for rate, gradient in zip(rates, gradients):
        optimizer.param_groups[0]['lr'] = rate
        weight.grad = gradient.clone()
        optimizer.step()
        velocity = 0.9 * rate / before * velocity - rate * gradient
        position, before = position + velocity, rate
        assert torch.allclose(weight.detach(), position)


class _Products(TorchDispatchMode):
    """Sizes of the results of products; the counter of torch knows none in place."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.baddbmm_.default:
            self.sizes.append(args[0].numel())
        return func(*args, **(kwargs or {}))


class TestTriangle:
    @pytest.mark.parametrize(('groups', 'size'), [(1, 1), (1, 8), (2, 11), (3, 4)])
    def test_blocks_make_the_whole(
        self, groups: int, size: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(triangle, 'BLOCK', 4)
        columns = torch.randint(-3, 4, (groups, size, 5)).double()
        total = torch.zeros(groups, size, size).double()
        triangle.add_product(total, columns, 2.0)
        triangle.add_product(total, columns, 0.5)
        expected = torch.einsum('gip,gjp->gij', columns, columns) * 2.5
        assert torch.equal(total.tril(), expected.tril())
        vector = triangle.pack(total)
        assert vector.numel() == groups * size * (size + 1) // 2
        back = torch.full_like(expected, torch.nan)
        triangle.unpack(vector, back)
        assert torch.equal(back, expected)
        assert torch.equal(triangle.mirror(total), expected)

    def test_a_product_takes_little_more_than_half_the_work(self) -> None:
        """Ten blocks: 55 products of blocks instead of 100."""
        size = 10 * triangle.BLOCK
        with _Products() as products, torch.device('meta'):
            triangle.add_product(torch.empty(1, size, size), torch.empty(1, size, 3), 1.0)
        assert 100 * sum(products.sizes) == 55 * size**2


def test_the_closed_form_of_a_pair() -> None:
    """Against LAPACK in float64, and for what rounding has made indefinite."""
    roots = torch.randn(6, 2, 3, dtype=torch.float64)
    pairs, damping = roots @ roots.mT, 0.3
    expected = torch.linalg.inv(pairs + damping * torch.eye(2, dtype=torch.float64))
    torch.testing.assert_close(pair_inverse(pairs, damping), expected)
    torn = torch.tensor([[[1.0, 1.0 + 1e-6], [1.0 + 1e-6, 1.0]]])
    assert torch.allclose(
        pair_inverse(torn, 1e-9)[0], torch.tensor([[0.5, -0.5], [-0.5, 0.5]]) * 1e9, rtol=1e-5
    )


def test_an_excluded_name_is_whole() -> None:
    network = nn.Sequential(*(nn.Linear(2, 2) for _ in range(12)))
    for name in ('1', '1.'):
        left = kfac_of(network, exclude=[name]).left
        assert set(left) == {'1.weight', '1.bias'}
