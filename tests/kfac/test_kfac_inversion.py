"""An inversion that fails on the rank that owns the layer is decided by all ranks together."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from kfac_nets import train_mixed
from mmengine.logging import MMLogger
from ranks import run_ranks
from torch import Tensor

from agvm_mm.kfac import layer as kfac_layer
from agvm_mm.parts import KFACPart

FAILURES = ['LinAlgError', 'RuntimeError', 'not finite']


def broken(kind: str, factors: Any) -> list[Tensor]:
    if kind == 'LinAlgError':
        raise torch.linalg.LinAlgError('did not converge')
    if kind == 'RuntimeError':
        raise RuntimeError('cusolver error: CUSOLVER_STATUS_INTERNAL_ERROR')
    return [factor * float('nan') for factor in factors]


def train(
    rank: int, ranks: int, kind: str | None, failing: range, solver: str = 'cholesky'
) -> dict[str, Any]:
    """Four updates; during some of them the last owner cannot invert the first layer it owns."""
    found: dict[str, Any] = dict(inverses=[], unsolved=[], said=[])
    plain, logger, handler = kfac_layer.solve, MMLogger.get_current_instance(), logging.Handler()
    handler.emit = lambda record: found['said'].append(record.getMessage())
    logger.addHandler(handler)

    def alter(wrapper: Any, update: int) -> None:
        kfac = wrapper.part(KFACPart).preconditioner
        # Of three ranks two own all layers, as the largest one is half of the work.
        last = max(layer.owner for layer in kfac.layers)
        broken_factors = next(layer for layer in kfac.layers if layer.owner == last)
        found['owner'] = last
        note(kfac, broken_factors)

        def solve(factors: Any, *args: Any) -> Any:
            fails = kind and update in failing and factors is broken_factors.factors
            return broken(kind, factors) if fails else plain(factors, *args)

        kfac_layer.solve = solve

    def note(kfac: Any, layer: Any) -> None:
        kept = layer.solution and [part.clone() for part in layer.solution]
        found['inverses'].append(kept)
        found['unsolved'].append([one.name for one in kfac.unsolved])
        found['name'] = layer.name

    try:
        result = train_mixed(rank, ranks, updates=4, batch=12, alter=alter, solver=solver)
    finally:
        kfac_layer.solve = plain
        logger.removeHandler(handler)
    return {**found, 'weights': result['weights']}


@pytest.mark.parametrize('ranks', [2, 3])
@pytest.mark.parametrize('kind', FAILURES)
def test_a_failing_owner_keeps_its_old_inverse_on_all_ranks(ranks: int, kind: str) -> None:
    results = run_ranks(train, ranks, ranks, kind, range(1, 3))
    name, owner = results[0]['name'], results[results[0]['owner']]
    assert owner['owner'] > 0
    for found in results:
        assert torch.equal(found['weights'], results[0]['weights'])
        assert found['weights'].isfinite().all()
        # Seen at the beginning of the next update.
        assert found['unsolved'] == [[], [], [name], [name]]
    first, second, third = owner['inverses'][1:]
    assert all(map(torch.equal, first, second)) and all(map(torch.equal, second, third))
    said = [text for text in results[0]['said'] if 'inversion' in text]
    assert len(said) == 1
    assert 'K-FAC: the inversion of 1 layer failed at update 1' in said[0] and name in said[0]


def test_without_a_failure_nothing_is_said_and_every_inverse_is_new() -> None:
    first, second = run_ranks(train, 2, 2, None, range(0))
    assert not [text for text in first['said'] if 'inversion' in text]
    assert first['unsolved'] == second['unsolved'] == [[]] * 4
    inverses = second['inverses']
    for old, new in zip(inverses[1:], inverses[2:]):
        assert not torch.equal(old[0], new[0])


@pytest.mark.parametrize('solver', ['cholesky', 'eigen'])
def test_a_layer_that_was_never_inverted_keeps_its_gradient(solver: str) -> None:
    first, second = run_ranks(train, 2, 2, 'RuntimeError', range(4), solver)
    assert torch.equal(first['weights'], second['weights'])
    assert second['inverses'] == [None] * 4
    assert first['unsolved'] == second['unsolved'] == [[], *[[first['name']]] * 3]
