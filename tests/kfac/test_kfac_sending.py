"""What owners send, to whom and in how many collectives; results do not depend on it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from kfac_nets import PLAIN, MixedNet, distance, train_mixed
from ranks import run_ranks

from agvm_mm.distributed import ProcessGroupCommunicator, SingleProcess
from agvm_mm.kfac import KFAC, KFACSettings, count_traffic, measurement
from agvm_mm.kfac import layer as kfac_layer
from agvm_mm.kfac.distribution import assign, inversion_cost, preconditioning_cost
from agvm_mm.kfac.measurement import bundle
from agvm_mm.parts import KFACPart

BOTH = ['gradients', 'solutions']


def _train(rank: int, ranks: int, settings: dict[str, Any]) -> dict[str, Any]:
    def alter(wrapper: Any, update: int) -> None:
        kfac = wrapper.part(KFACPart).preconditioner
        holding.append([layer.solution is not None for layer in kfac.layers])

    holding: list[list[bool]] = []
    result = train_mixed(rank, ranks, batch=12, updates=3, alter=alter, **settings)
    return {**result, 'holding': holding}


@pytest.mark.parametrize('ranks', [2, 3])
@pytest.mark.parametrize('send', BOTH)
@pytest.mark.parametrize('solver', ['cholesky', 'eigen'])
def test_any_number_of_ranks_trains_the_same(ranks: int, send: str, solver: str) -> None:
    options = dict(solver=solver, dtype=torch.float64, max_block=20)
    alone = train_mixed(0, 1, batch=12, updates=3, **options)
    results = run_ranks(_train, ranks, ranks, dict(options, send=send))
    for found in results:
        assert torch.equal(found['weights'], results[0]['weights'])
        assert distance(found['weights'], alone['weights']) < 1e-12
    # Who can precondition: the owners, or everybody.
    held = torch.tensor([found['holding'][-1] for found in results]).sum(0)
    assert held.tolist() == [1 if send == 'gradients' else ranks] * 9


def _failing(rank: int, ranks: int, thorough_too: bool) -> dict[str, Any]:
    """The owner's Cholesky decomposition fails on update 1, and all else if asked for."""
    plain = kfac_layer.solve

    def alter(wrapper: Any, update: int) -> None:
        layer = wrapper.part(KFACPart).preconditioner.layers[0]
        found['solution'] = layer.solution and [part.clone() for part in layer.solution]

        def solve(factors: Any, damping: float, solver: str, dtype: Any, thorough: bool) -> Any:
            if update == 1 and factors is layer.factors and (thorough_too or not thorough):
                raise RuntimeError('broken')
            return plain(factors, damping, solver, dtype, thorough)

        kfac_layer.solve = solve

    found: dict[str, Any] = {}
    try:
        result = train_mixed(rank, ranks, updates=3, batch=12, alter=alter, send='solutions')
    finally:
        kfac_layer.solve = plain
    return {**found, **result}


@pytest.mark.parametrize('thorough_too', [False, True])
def test_after_a_failed_inversion_all_ranks_hold_the_same(thorough_too: bool) -> None:
    """An inverse from the eigenbasis is symmetric only up to rounding; so is what is sent of it."""
    results = run_ranks(_failing, 3, 3, thorough_too)
    for found in results:
        assert torch.equal(found['weights'], results[0]['weights'])
        assert all(map(torch.equal, found['solution'], results[0]['solution']))


class _Counting(ProcessGroupCommunicator):
    """Counts every collective and its payload."""

    def __init__(self) -> None:
        super().__init__(dist.group.WORLD)
        self.calls: dict[str, list[int]] = {}

    def note(self, name: str, tensor: torch.Tensor) -> None:
        self.calls.setdefault(name, []).append(tensor.numel() * tensor.element_size())

    def start_reduce(self, tensor: torch.Tensor, rank: int) -> Any:
        self.note('reduce', tensor)
        return super().start_reduce(tensor, rank)

    def start_broadcast(self, tensor: torch.Tensor, rank: int) -> Any:
        self.note('broadcast', tensor)
        return super().start_broadcast(tensor, rank)

    def all_reduce_sum(self, tensor: torch.Tensor) -> torch.Tensor:
        self.note('control', tensor)
        return super().all_reduce_sum(tensor)

    def all_reduce_max(self, tensor: torch.Tensor) -> torch.Tensor:
        self.note('control', tensor)
        return super().all_reduce_max(tensor)


def _count(rank: int, send: str, solver: str, half: bool) -> tuple[list[dict[str, Any]], Any]:
    torch.manual_seed(0)
    network, counting, calls = MixedNet().train(), _Counting(), []
    options = dict(statistics_interval=2, inverse_interval=4, send=send, solver=solver, half=half)
    kfac = KFAC(network, KFACSettings(**{**PLAIN, **options}), counting)
    for update in range(3):  # measures and inverts; neither; measures
        counting.calls = {}
        kfac.before_update(update)
        loss = network(torch.randn(2, 3, 9, 9), torch.tensor([0, rank]))['loss']
        with kfac.around_backward(0, 1, 2):
            loss.backward()
        kfac.step(update, {})
        calls.append(counting.calls)
    return calls, count_traffic(kfac)


@pytest.mark.parametrize('send', BOTH)
@pytest.mark.parametrize(('solver', 'half'), [('cholesky', False), ('eigen', True)])
def test_collectives_and_bytes_are_those_of_the_report(send: str, solver: str, half: bool) -> None:
    """Two owners: a reduction and a broadcast for each, and the small vectors."""
    (inverting, other, measuring), traffic = run_ranks(_count, 2, send, solver, half)[0]
    number = lambda calls: sum(map(len, calls.values()))  # noqa: E731
    assert number(other) == traffic.every == (2 if send == 'gradients' else 0)
    assert number(measuring) == traffic.measuring + traffic.every
    assert traffic.measuring == 2 + 2 + half
    assert number(inverting) == traffic.measuring + traffic.inverting + traffic.every
    assert traffic.inverting == (1 if send == 'gradients' else 3)
    assert sum(measuring['reduce']) == traffic.factors
    sent = {'gradients': sum(other.get('broadcast', ())), 'solutions': 0}
    sent['solutions'] = sum(inverting['broadcast']) - sent['gradients']
    assert (sent['gradients'], sent['solutions']) == (traffic.gradients, traffic.solutions)
    assert sent[send] > 0 == sent[BOTH[1 - BOTH.index(send)]]


class _Ranks(SingleProcess):
    def __init__(self, size: int) -> None:
        self.size = size


@pytest.mark.parametrize('ranks', [1, 2, 7])
def test_a_message_has_one_owner_and_is_full_or_the_last(
    ranks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurement, 'MESSAGE', 4 * 1500)
    kfac = KFAC(MixedNet(), KFACSettings(), _Ranks(ranks))
    layers = kfac.layers[::-1]
    messages = bundle(layers)
    sizes = {layer: sum(p * (p + 1) // 2 * s[0] for s in layer.helper.shapes for p in s[1:2])
             for layer in layers}  # fmt: skip
    assert sorted(x.name for m in messages for x in m) == sorted(x.name for x in layers)
    full = [sum(sizes[x] for x in m) >= 1500 for m in messages]
    for i, message in enumerate(messages):
        assert len({layer.owner for layer in message}) == 1
        assert sum(sizes[x] for x in message[:-1]) < 1500, 'it should have left before'
        later = [m for m in messages[i + 1 :] if m[0].owner == message[0].owner]
        assert full[i] or not later
    assert any(full) and (ranks > 1 or len(messages) > 1)


COSTS = st.lists(st.integers(1, 1000), min_size=1, max_size=12)


@settings(max_examples=200)
@given(COSTS, st.integers(1, 40))
def test_no_more_owners_than_shorten_the_work_of_the_busiest(costs: list[int], ranks: int) -> None:
    def loads(owners: list[int]) -> list[int]:
        return [sum(c for c, o in zip(costs, owners) if o == r) for r in range(ranks)]

    def greedy(count: int) -> int:
        found = [0] * count
        for cost in sorted(costs, reverse=True):
            found[found.index(min(found))] += cost
        return max(found)

    owners = assign(costs, ranks)
    busiest, used = max(loads(owners)), len(set(owners))
    assert busiest <= greedy(ranks)
    assert set(owners) == set(range(used))
    assert all(greedy(fewer) > greedy(ranks) for fewer in range(1, used))


def test_more_ranks_than_help_own_nothing() -> None:
    """100 | 50 + 30 | 50 + 30: a fourth rank would not shorten the longest."""
    assert assign([100, 30, 30, 50, 50], 4096) == [0, 1, 2, 1, 2]


def test_work_counts_preconditioning_where_the_owner_does_it() -> None:
    """A wide layer is cheap to invert and costs every update."""
    wide, deep = [(1, 8, 8), (1, 9000)], [(1, 60, 60), (1, 4, 4)]
    assert (inversion_cost(wide), inversion_cost(deep)) == (8**3 + 9000, 60**3 + 4**3)
    assert preconditioning_cost(wide) == 8 * 9000 * (8 + 1)
    assert preconditioning_cost(deep) == 60 * 4 * (60 + 4)
    assert preconditioning_cost([(5, 2, 2)]) == 5 * 2 * 2


def test_one_process_sends_nothing() -> None:
    both = [train_mixed(0, 1, send=send, max_block=20)['weights'] for send in BOTH]
    assert torch.equal(*both)
