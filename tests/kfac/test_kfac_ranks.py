"""One process, several micro-batches and several ranks are one computation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.distributed as dist
from kfac_nets import PLAIN, MixedNet, distance, factors_of, train_mixed
from mmengine.model import BaseModel, MMDistributedDataParallel
from ranks import run_ranks
from torch import nn

from agvm_mm import AGVMOptimWrapper
from agvm_mm.distributed import ProcessGroupCommunicator
from agvm_mm.kfac import KFAC, KFACSettings, count_traffic
from agvm_mm.parts import KFACPart

DTYPES = [(torch.float32, 1e-6), (torch.float64, 1e-12)]
every_dtype = pytest.mark.parametrize(('dtype', 'tolerance'), DTYPES, ids=['f32', 'f64'])


def check_same(found: dict[str, Any], expected: dict[str, Any], tolerance: float) -> None:
    theirs = factors_of(expected)
    assert len(theirs) == 9
    for name, factor in factors_of(found).items():
        # The second update measures at weights that rounding has moved already, by CPU differently.
        assert distance(factor, theirs[name]) <= 4 * tolerance, name
    assert distance(found['weights'], expected['weights']) <= tolerance


@every_dtype
@pytest.mark.parametrize('solver', ['cholesky', 'eigen'])
def test_any_number_of_ranks(dtype: torch.dtype, tolerance: float, solver: str) -> None:
    options = dict(dtype=dtype, solver=solver)
    alone = train_mixed(0, 1, **options)
    for ranks in (2, 4):
        results = run_ranks(_train, ranks, ranks, options)
        for other in results[1:]:
            assert torch.equal(other['weights'], results[0]['weights'])
        check_same(results[0], alone, tolerance)


def _train(rank: int, ranks: int, options: dict[str, Any]) -> dict[str, Any]:
    return train_mixed(rank, ranks, **options)


@every_dtype
def test_any_number_of_micro_batches(dtype: torch.dtype, tolerance: float) -> None:
    whole = train_mixed(0, 1, dtype=dtype)
    for counts in (2, 8):
        check_same(train_mixed(0, 1, counts, dtype=dtype), whole, tolerance)


def test_ranks_with_micro_batches() -> None:
    options = dict(counts=2, dtype=torch.float64)
    check_same(run_ranks(_train, 2, 2, options)[0], train_mixed(0, 1, dtype=torch.float64), 1e-12)


def test_k_fac_changes_the_training() -> None:
    """The comparisons above compare something: factors move, and the steps are not SGD's."""
    one, three = train_mixed(0, 1, updates=1), train_mixed(0, 1)
    for name, factor in factors_of(one).items():
        assert distance(factor, factors_of(three)[name]) > 1e-3
    plain = train_mixed(0, 1, damping=1e6, norm_damping=1.0)
    assert distance(plain['weights'], three['weights']) > 1e-2


def test_overlap_is_only_a_matter_of_time() -> None:
    early = run_ranks(_train, 2, 2, dict(overlap=True, counts=2))
    late = run_ranks(_train, 2, 2, dict(overlap=False, counts=2))
    assert torch.equal(early[0]['weights'], late[0]['weights'])


class _Noting(ProcessGroupCommunicator):
    """Notes during which backward pass a reduction starts; None between two of them."""

    def __init__(self) -> None:
        super().__init__(dist.group.WORLD)
        self.inside: int | None = None
        self.started: list[int | None] = []

    def start_reduce(self, tensor: torch.Tensor, rank: int) -> Any:
        self.started.append(self.inside)
        return super().start_reduce(tensor, rank)


def _when_sent(rank: int, **settings: Any) -> tuple[list[int | None], int]:
    torch.manual_seed(0)
    network, noting = MixedNet().train(), _Noting()
    kfac = KFAC(network, KFACSettings(**{**PLAIN, **settings}), noting)
    for index in range(2):
        loss = network(torch.randn(2, 3, 9, 9), torch.tensor([0, rank]))['loss']
        with kfac.around_backward(index, 2, 2):
            noting.inside = index
            loss.backward()
            noting.inside = None
    kfac.step(0, {})
    return noting.started, len({layer.owner for layer in kfac.layers})


@pytest.mark.parametrize(
    ('settings', 'early'),
    [(dict(), True), (dict(overlap=False), False), (dict(half=True), False)],
)
def test_with_overlap_factors_are_sent_during_the_last_backward_pass(
    settings: dict[str, Any], early: bool
) -> None:
    """Half precision needs the largest entry of all ranks first, and so sends afterwards."""
    for started, owners in run_ranks(lambda rank: _when_sent(rank, **settings), 2):
        assert started == [1 if early else None] * owners
        assert owners == 2


def test_half_precision_communication() -> None:
    exact = run_ranks(_train, 2, 2, dict(updates=1))[0]
    half = run_ranks(_train, 2, 2, dict(updates=1, half=True))[0]
    for name, factor in factors_of(half).items():
        difference = distance(factor, factors_of(exact)[name])
        assert 0 < difference < 1e-3, name


def _tiny_factors(rank: int, half: bool) -> dict[str, list[torch.Tensor]]:
    torch.manual_seed(0)
    network = MixedNet().train()
    settings = KFACSettings(half=half, momentum=0.0, **PLAIN)
    kfac = KFAC(network, settings, ProcessGroupCommunicator(dist.group.WORLD))
    inputs = torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(rank))
    loss = 1e-5 * network(inputs, torch.tensor([0, rank]))['loss']
    with kfac.around_backward(0, 1, 2):
        loss.backward()
    kfac.step(0, {})
    return {layer.name: layer.factors for layer in kfac.layers if layer.factors is not None}


def test_half_precision_keeps_numbers_that_float16_has_not() -> None:
    """Squared gradients of 1e-10 and less, where the smallest float16 is 6e-8."""
    exact, half = (run_ranks(_tiny_factors, 2, half) for half in (False, True))
    for theirs, ours in zip(exact, half):
        assert theirs and theirs.keys() == ours.keys()
        for name, (*_, factor) in theirs.items():
            assert 0 < float(factor.abs().max()) < 6e-8
            assert distance(ours[name][-1], factor) < 1e-2, name


class _Counting(ProcessGroupCommunicator):
    """Adds up the payload of every collective."""

    def __init__(self) -> None:
        super().__init__(dist.group.WORLD)
        self.bytes = dict(factors=0, gradients=0, control=0)

    def start_reduce(self, tensor: torch.Tensor, rank: int) -> Any:
        self.bytes['factors'] += tensor.numel() * tensor.element_size()
        return super().start_reduce(tensor, rank)

    def start_broadcast(self, tensor: torch.Tensor, rank: int) -> Any:
        self.bytes['gradients'] += tensor.numel() * tensor.element_size()
        return super().start_broadcast(tensor, rank)

    def all_reduce_sum(self, tensor: torch.Tensor) -> torch.Tensor:
        self.bytes['control'] += tensor.numel() * tensor.element_size()
        return super().all_reduce_sum(tensor)

    def all_reduce_max(self, tensor: torch.Tensor) -> torch.Tensor:
        self.bytes['control'] += tensor.numel() * tensor.element_size()
        return super().all_reduce_max(tensor)


def _count(rank: int, half: bool, max_size: int) -> tuple[dict[str, int], Any]:
    torch.manual_seed(0)
    network, counting = MixedNet().train(), _Counting()
    settings = KFACSettings(
        statistics_interval=2, inverse_interval=2, half=half, max_size=max_size, **PLAIN
    )
    kfac = KFAC(network, settings, counting)
    for update in range(2):  # the second measures nothing
        kfac.before_update(update)
        loss = network(torch.randn(2, 3, 9, 9), torch.tensor([0, rank]))['loss']
        with kfac.around_backward(0, 1, 2):
            loss.backward()
        kfac.step(update, {})
    return counting.bytes, count_traffic(kfac)


# Of MixedNet: rows of A and G, groups; channels of the norms.
DENSE = [(28, 8, 1), (36, 4, 2), (9, 6, 1), (73, 6, 1), (55, 6, 1), (7, 4, 1)]
CHANNELS = [8, 8, 6]


@pytest.mark.parametrize('half', [False, True])
def test_bytes_on_the_wire(half: bool) -> None:
    """Counted where they leave, computed by hand, and reported."""
    counted, traffic = run_ranks(_count, 2, half, 5000)[0]
    packed = sum(g * (a * (a + 1) // 2 + b * (b + 1) // 2) for a, b, g in DENSE)
    full = sum(g * (a * a + b * b) for a, b, g in DENSE)
    packed, full = packed + 3 * sum(CHANNELS), full + 4 * sum(CHANNELS)
    assert (packed, full) == (6247, 12168)  # added up by hand: 51 %
    assert counted['factors'] == traffic.factors == packed * (2 if half else 4)
    assert traffic.factors_full == 4 * full
    parameters = sum(p.numel() for p in MixedNet().parameters())
    assert counted['gradients'] == 2 * traffic.gradients == 2 * 4 * parameters
    assert counted['control'] == traffic.control


def test_a_diagonal_factor_is_its_diagonal_on_the_wire() -> None:
    counted, traffic = run_ranks(_count, 2, False, 10)[0]
    packed = sum(
        g * sum(n * (n + 1) // 2 if n <= 10 else n for n in (a, b)) for a, b, g in DENSE
    ) + 3 * sum(CHANNELS)
    assert counted['factors'] == traffic.factors == 4 * packed


def _uneven(rank: int) -> dict[str, Any]:
    """In the second update the first layer of rank 1 sees an infinity."""

    def poison(wrapper: Any, update: int) -> None:
        if update == 1 and rank == 1:
            helper = wrapper.part(KFACPart).preconditioner.layers[0].helper
            hooked = helper.add
            helper.add = lambda sums, context, gradient: hooked(
                sums, context * float('inf'), gradient
            )
        elif update == 2 and rank == 1:
            del wrapper.part(KFACPart).preconditioner.layers[0].helper.add

    return train_mixed(rank, 2, updates=3, alter=poison)


def test_factors_that_are_not_finite_are_skipped_on_all_ranks() -> None:
    first, second = run_ranks(_uneven, 2)
    assert first['skipped'] == second['skipped'] == 1
    assert torch.equal(first['weights'], second['weights'])
    assert first['weights'].isfinite().all()
    for factor in factors_of(first).values():
        assert factor.isfinite().all()
    # two of three measurements count: 0.5 F0 + 0.5 F2
    assert {entry['next'] for entry in first['state']['layers'].values()} == {3}


class _Synchronised(torch.autograd.Function):
    """Gives no gradient where its input is empty, as the backward pass of SyncBatchNorm does."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor) -> torch.Tensor:
        ctx.empty = values.numel() == 0
        return 2 * values

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor | None:
        return None if ctx.empty else 2 * gradient


class RegionNet(BaseModel):
    """A branch that sees the images of which the first number is positive."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.branch, self.head = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2)

    def forward(self, inputs: torch.Tensor, data_samples: Any = None, mode: str = '') -> Any:
        values = torch.tanh(self.stem(inputs))
        regions = self.branch(values[inputs[:, 0] > 0])
        loss = self.head(values).square().sum() + _Synchronised.apply(regions).square().sum()
        return dict(loss=loss / len(inputs))


def _regions(rank: int, ranks: int, overlap: bool) -> dict[str, Any]:
    """Two updates of 4 images, the last two without a region: on two ranks those of rank 1."""
    torch.manual_seed(0)
    network = RegionNet().double()
    model = MMDistributedDataParallel(network) if ranks > 1 else network
    kfac = dict(momentum=0.5, statistics_interval=1, inverse_interval=1, damping=0.1)
    wrapper = AGVMOptimWrapper(
        torch.optim.SGD(network.parameters(), lr=0.1), agvm=None, kfac=dict(kfac, overlap=overlap)
    )
    wrapper.initialize_count_status(model, 0, 2)
    for update in range(2):
        images = torch.randn(4, 3, generator=torch.Generator().manual_seed(update)).double()
        images[:, 0] = images[:, 0].abs() * torch.tensor([1.0, 1.0, -1.0, -1.0])
        model.train_step(dict(inputs=images.chunk(ranks)[rank], data_samples=None), wrapper)
    wrapper.part(KFACPart).gather()
    return dict(
        weights=torch.cat([p.detach().reshape(-1) for p in network.parameters()]),
        state=wrapper.state_dict()['kfac'],
    )


@pytest.mark.parametrize('overlap', [True, False])
def test_a_rank_without_a_gradient_for_a_layer(overlap: bool) -> None:
    alone = _regions(0, 1, overlap)
    first, second = run_ranks(_regions, 2, 2, overlap)
    assert torch.equal(first['weights'], second['weights'])
    assert distance(first['weights'], alone['weights']) < 1e-12
    for name, factor in factors_of(first).items():
        assert distance(factor, factors_of(alone)[name]) < 1e-12, name
