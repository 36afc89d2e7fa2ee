"""Attentions and other kinds of convolutions in trainings: ranks, precision, checkpointing."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from kfac_nets import distance, factors_of, kfac_of, mixed_batch, train_mixed
from kinds_net import LAYERS, LEFT, KindsNet
from ranks import run_ranks
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

DOUBLE = torch.float64


def _train(rank: int, ranks: int, options: dict[str, Any]) -> dict[str, Any]:
    return train_mixed(rank, ranks, build=KindsNet, dtype=DOUBLE, **options)


def check_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    ours, theirs = factors_of(found), factors_of(expected)
    assert sorted(ours) == sorted(LAYERS)
    for name, factor in ours.items():
        assert distance(factor, theirs[name]) < 1e-11, name
    assert distance(found['weights'], expected['weights']) < 1e-11


@pytest.mark.parametrize('solver', ['cholesky', 'eigen'])
def test_any_number_of_ranks_and_micro_batches(solver: str) -> None:
    alone = _train(0, 1, dict(solver=solver))
    check_same(_train(0, 1, dict(solver=solver, counts=4)), alone)
    for options in (dict(solver=solver), dict(solver=solver, counts=2, overlap=False)):
        first, second = run_ranks(_train, 2, 2, options)
        assert torch.equal(first['weights'], second['weights'])
        check_same(first, alone)


def test_what_is_left_and_every_layer_counts() -> None:
    network = KindsNet().double()
    kfac = kfac_of(network)
    assert [layer.name for layer in kfac.layers] == LAYERS and sorted(kfac.left) == LEFT
    with kfac.around_backward(0, 1, 8):
        network(**mixed_batch(0, range(8), DOUBLE))['loss'].backward()
    before = {name: p.grad.clone() for name, p in network.named_parameters()}
    positions = {layer.name: layer.positions for layer in kfac.layers}
    kfac.step(0, {})
    assert all(layer.solved for layer in kfac.layers)
    for name, parameter in network.named_parameters():
        assert torch.equal(parameter.grad, before[name]) == (name in LEFT), name
    tokens = 8 * 16
    assert positions['among.q'] == positions['among.out_proj'] == 2 * tokens
    assert (positions['across.q'], positions['across.v']) == (8 * 3, tokens)
    assert (positions['backbone.larger'], positions['neck']) == (8 * 64, tokens)


class Branch(nn.Module):
    """An attention behind a layer, with or without activation checkpointing."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode
        self.first, self.attention = nn.Linear(4, 4), nn.MultiheadAttention(4, 2)

    def forward(self, values: Tensor) -> Tensor:
        values = self.first(values)
        if self.mode == 'plain':
            return self.attend(values)
        again = self.mode == 're-entrant'
        result: Tensor = checkpoint(self.attend, values, use_reentrant=again)
        return result

    def attend(self, values: Tensor) -> Tensor:
        found: Tensor = self.attention(values, values, values)[0]
        return found.mul_(2)  # which overwrites the product's output


@pytest.mark.parametrize('mode', ['re-entrant', 'recorded'])
def test_checkpointing_counts_once(mode: str) -> None:
    found, inputs = [], torch.randn(3, 5, 4, dtype=DOUBLE)
    for each in ('plain', mode):
        torch.manual_seed(0)
        network = Branch(each).double()
        kfac = kfac_of(network)
        with kfac.around_backward(0, 1, 5):
            network(inputs).square().sum().backward()
        kfac.step(0, {})
        found.append([p.grad for p in network.parameters()])
        assert all(layer.solved for layer in kfac.layers)
    for ours, theirs in zip(*found, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-12, atol=1e-14)


def test_the_product_is_torchs_own_outside_of_an_attention() -> None:
    """Also after an error within it, and for copies, whose hooks do nothing."""
    own, attention = functional.linear, nn.MultiheadAttention(4, 2)
    network, seen = nn.Sequential(nn.Linear(4, 4), attention), []
    kfac = kfac_of(network)
    attention.register_forward_pre_hook(lambda *_: seen.append(functional.linear))
    values = torch.randn(3, 5, 4)
    attention(values, values, values)
    assert seen.pop() is not own and functional.linear is own
    with pytest.raises(AssertionError):
        attention(values[..., :2], values, values)
    assert seen.pop() is not own and functional.linear is own
    for other in (copy.deepcopy(network)[1], pickle.loads(pickle.dumps(kfac_net()))[1]):
        other(values, values, values)
        assert functional.linear is own
    with torch.no_grad():
        attention(values, values, values)
    assert seen.pop() is own
    kfac.layers[1].due = kfac.layers[2].due = kfac.layers[3].due = kfac.layers[4].due = False
    attention(values, values, values)
    assert seen.pop() is own


def kfac_net() -> nn.Module:
    network = nn.Sequential(nn.Linear(4, 4), nn.MultiheadAttention(4, 2))
    kfac_of(network)
    return network


def test_autocast() -> None:
    """Factors of products in bfloat16, right to 2^-8; gradients of queries are differences."""
    found = []
    for enabled in (False, True):
        torch.manual_seed(0)
        network = KindsNet()
        kfac = kfac_of(network)
        with torch.autocast('cpu', torch.bfloat16, enabled=enabled):
            loss = network(**mixed_batch(0, range(8), torch.float32))['loss']
        with kfac.around_backward(0, 1, 8):
            loss.backward()
        kfac._measure(0)
        found.append({layer.name: layer.factors for layer in kfac.layers})
    for name, factors in found[0].items():
        for exact, half in zip(factors, found[1][name], strict=True):
            assert half.dtype == torch.float32
            assert distance(half, exact) < 2**-2, name
