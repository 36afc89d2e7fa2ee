"""Wrapped, pruned, tied and functional layers: preconditioned rightly, or left with a reason."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from kfac_nets import distance, kfac_of
from mmengine.model import BaseModel, MMDistributedDataParallel
from odd_layers import KINDS, OddNet, odd_batch, random_kinds
from ranks import run_ranks
from torch import Tensor, nn

from agvm_mm import AGVMOptimWrapper
from agvm_mm.parts import KFACPart

DOUBLE = torch.float64
LEFT = [kind for kind, (_, reason) in KINDS.items() if reason is not None]
KFAC = dict(momentum=0.5, statistics_interval=1, inverse_interval=1, damping=0.1)


def train(
    rank: int, ranks: int, kinds: list[str], updates: int = 2, **kfac: Any
) -> tuple[Tensor, dict[str, str], dict[str, bool]]:
    """Weights after some updates of 8 images, what is left and why, and what was solved."""
    torch.manual_seed(0)
    network = OddNet(kinds).double().train()
    model = MMDistributedDataParallel(network) if ranks > 1 else network
    wrapper = AGVMOptimWrapper(
        torch.optim.SGD(network.parameters(), lr=0.1), agvm=None, kfac={**KFAC, **kfac}
    )
    wrapper.initialize_count_status(model, 0, updates)
    share = 8 // ranks
    for update in range(updates):
        images = range(rank * share, (rank + 1) * share)
        model.train_step(odd_batch(update, images, DOUBLE), wrapper)
    part = wrapper.part(KFACPart).preconditioner
    weights = torch.cat([p.detach().reshape(-1) for p in network.parameters()])
    solved = {layer.name: layer.solved for layer in part.layers}
    return weights, part.left, solved


def check_left(kinds: list[str], left: dict[str, str], solved: dict[str, bool]) -> None:
    """Every layer is preconditioned, or all of its parameters are listed with the reason."""
    for index, kind in enumerate(kinds):
        reason, name = KINDS[kind][1], f'layers.{index}'
        listed = {key: why for key, why in left.items() if key.startswith(f'{name}.')}
        if reason is None:
            assert solved[name] and not listed, kind
            continue
        network = OddNet(kinds)
        trainable = {
            key
            for key, parameter in network.named_parameters()
            if key.startswith(f'{name}.') and parameter.requires_grad
        }
        assert set(listed) == trainable, kind
        assert all(reason in why for why in listed.values()), listed
        assert not solved.get(name, False), kind
    assert solved['head']


@pytest.mark.parametrize('limit', [None, 1e-3], ids=['free', 'clipped'])
@pytest.mark.parametrize('kind', LEFT)
def test_a_layer_that_is_left_trains_as_if_excluded(kind: str, limit: float | None) -> None:
    kinds = ['linear', kind]
    found, left, solved = train(0, 1, kinds, kl_clip=limit)
    check_left(kinds, left, solved)
    expected, *_ = train(0, 1, kinds, kl_clip=limit, exclude=['layers.1'])
    assert torch.equal(found, expected)


def _both(rank: int, kinds: list[str]) -> Any:
    return train(rank, 2, kinds), train(rank, 2, kinds, exclude=['layers.1'])[0]


@pytest.mark.parametrize('kind', LEFT)
def test_and_so_it_does_on_two_ranks(kind: str) -> None:
    kinds = ['linear', kind]
    for (found, left, solved), expected in run_ranks(_both, 2, kinds):
        check_left(kinds, left, solved)
        assert torch.equal(found, expected)


def test_a_call_by_keyword_is_a_call() -> None:
    ours, theirs = train(0, 1, ['keyword']), train(0, 1, ['linear'])
    assert torch.equal(ours[0], theirs[0])
    assert ours[1:] == theirs[1:] == ({}, {'layers.0': True, 'head': True})


class Convolutions(BaseModel):
    """A convolution that is called, or whose weight is used."""

    def __init__(self, functional: bool) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 2, 3)
        self.functional = functional

    def forward(self, inputs: Tensor) -> Tensor:
        values = torch.tanh(self.first(inputs))
        second = self.second
        if self.functional:
            return nn.functional.conv2d(values, second.weight, second.bias)
        return second(input=values)


def test_a_functional_convolution() -> None:
    torch.manual_seed(0)
    images, found = torch.randn(3, 1, 5, 5, dtype=DOUBLE), []
    for functional in (True, False):
        network = Convolutions(functional).double()
        kfac = kfac_of(network)
        with kfac.around_backward(0, 1, 3):
            network(images).square().sum().backward()
        kfac.step(0, {})
        found.append((kfac.left, [layer.solved for layer in kfac.layers]))
    reason = 'used without a call of their module, as by F.linear or F.conv2d'
    names = ('second.weight', 'second.bias')
    assert found == [(dict.fromkeys(names, reason), [True, False]), ({}, [True, True])]


class TestBruteForce:
    """Gradients as dense matrices of the Fisher blocks make them, apart from the package's code."""

    def outer_of(self, network: OddNet, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Inputs and outputs of every call of every layer, by retained gradients."""
        calls: dict[str, list[Any]] = {}
        for name, module in network.named_modules():
            if isinstance(module, (nn.Linear, nn.Conv2d, nn.LayerNorm, nn.GroupNorm)):

                def note(_: Any, args: Any, kwargs: Any, output: Tensor, name: str = name) -> None:
                    output.retain_grad()
                    calls.setdefault(name, []).append(((*args, *kwargs.values())[0], output))

                module.register_forward_hook(note, with_kwargs=True, prepend=True)
        network(**batch)['loss'].backward()
        return calls

    def expected(self, kinds: list[str], network: OddNet, batch: dict[str, Any]) -> dict[str, Any]:
        images, damping = len(batch['inputs']), 0.1
        calls, new = self.outer_of(network, batch), {}
        preconditioned = [i for i, kind in enumerate(kinds) if KINDS[kind][1] is None]
        for name in [*(f'layers.{i}' for i in preconditioned), 'head']:
            module = network.get_submodule(name)
            outputs, is_norm = len(module.weight), module.weight.ndim == 1
            inputs = outputs if is_norm else module.weight[0].numel()
            xs = torch.cat([x.detach().reshape(-1, inputs) for x, _ in calls[name]])
            gs = images * torch.cat([y.grad.reshape(-1, outputs) for _, y in calls[name]])
            if module.bias is not None:
                xs = torch.cat([xs, xs.new_ones(len(xs), 1)], 1)
            if is_norm:
                normal = copy.deepcopy(module)
                normal.weight.data.fill_(1), normal.bias.data.fill_(0)
                bare = type(module).forward(normal, xs[:, :-1]).detach()
                weight, bias = module.weight.grad.clone(), module.bias.grad.clone()
                for c in range(outputs):
                    rows = torch.stack([gs[:, c] * bare[:, c], gs[:, c]], 1)
                    block = rows.T @ rows / images + 16 * damping * torch.eye(2, dtype=DOUBLE)
                    pair = torch.stack([weight[c], bias[c]])
                    weight[c], bias[c] = torch.linalg.solve(block, pair)
                new[name] = [weight, bias]
                continue
            a, g = xs.T @ xs / images, gs.T @ gs / len(gs)
            parts = [p.grad for p in (module.weight, module.bias) if p is not None]
            matrix = torch.cat([part.reshape(len(g), -1) for part in parts], 1)
            dense = torch.kron(g, a) + damping * torch.eye(matrix.numel(), dtype=DOUBLE)
            solved = torch.linalg.solve(dense, matrix.reshape(-1)).reshape(matrix.shape)
            weight = solved[:, :inputs].reshape(module.weight.shape)
            new[name] = [weight, solved[:, inputs:].reshape(-1)]
        return new

    def check(self, seed: int) -> None:
        kinds = random_kinds(seed)
        torch.manual_seed(seed)
        network, batch = OddNet(kinds).double().train(), odd_batch(seed, range(8), DOUBLE)
        state = copy.deepcopy(network.state_dict())
        kfac = kfac_of(network, solver='eigen')
        with kfac.around_backward(0, 1, 8):
            network(**batch)['loss'].backward()
        kept = {name: copy.deepcopy(p.grad) for name, p in network.named_parameters()}
        kfac.step(0, {})
        torch.manual_seed(seed)
        twin = OddNet(kinds, inplace=False).double().train()
        twin.load_state_dict(state)
        expected = self.expected(kinds, twin, batch)
        for name, parameter in network.named_parameters():
            layer, _, key = name.rpartition('.')
            if layer in expected:
                theirs = expected[layer][0 if key == 'weight' else 1]
                assert distance(parameter.grad, theirs) < 1e-8, (kinds, name)
            elif parameter.grad is not None:
                assert torch.equal(parameter.grad, kept[name]), (kinds, name)

    @pytest.mark.parametrize('seed', range(20))
    def test_random_networks(self, seed: int) -> None:
        self.check(seed)

    @pytest.mark.slow
    @pytest.mark.parametrize('seed', range(20, 300))
    def test_more_random_networks(self, seed: int) -> None:
        self.check(seed)


def _random(rank: int, ranks: int, seeds: range) -> Any:
    return [train(rank, ranks, random_kinds(seed)) for seed in seeds]


def _check_ranks(seeds: range) -> None:
    alone = _random(0, 1, seeds)
    both = run_ranks(_random, 2, 2, seeds)
    for seed, (weights, left, solved), first, second in zip(seeds, alone, *both):
        kinds = random_kinds(seed)
        assert torch.equal(first[0], second[0]), kinds
        # A step of power iteration in each forward pass, so rounding grows; else 1e-10.
        assert distance(first[0], weights) < 1e-9, kinds
        for found in ((weights, left, solved), first, second):
            check_left(kinds, *found[1:])


def test_random_networks_on_two_ranks() -> None:
    _check_ranks(range(8))


@pytest.mark.slow
def test_more_random_networks_on_two_ranks() -> None:
    _check_ranks(range(8, 100))
