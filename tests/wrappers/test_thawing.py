"""What is frozen or thawed during a run: ranks stay equal, and what is not measured is said."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from ranks import RankError, run_ranks
from runs import ThreePartNet, data
from torch import Tensor

from agvm_mm.wrappers import AGVMOptimWrapper

SENTENCE = (
    "the parameter 'neck.weight' was frozen when the model was wrapped in DistributedDataParallel, "
    'which does not average its gradient, so the ranks would drift apart;'
)
AGVM = dict(interval=1, momentum=0.5)
KFAC = dict(statistics_interval=1, inverse_interval=1, momentum=0.5, damping=0.1)
ARMS = {'agvm': dict(agvm=AGVM), 'kfac': dict(agvm=None, kfac=KFAC), 'neither': dict(agvm=None)}
COUNTS = 2


def _flat(model: torch.nn.Module) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def _run(rank: int, patterns: list[dict[str, bool]], options: Any, first: int) -> Tensor:
    """Trains an update for every pattern: ``requires_grad`` by prefix of parameter names.

    The first ``first`` patterns apply in turn before the wrapper of ranks, before the first sight.
    """
    torch.manual_seed(0)
    network = ThreePartNet().train()
    parameters = list(network.parameters())
    if first:
        _set(network, patterns[0])
    model = MMDistributedDataParallel(network, find_unused_parameters=True)
    if first > 1:
        _set(network, patterns[1])
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    wrapper = AGVMOptimWrapper(optimizer, accumulative_counts=COUNTS, **options)
    wrapper.initialize_count_status(model, 0, COUNTS * len(patterns))
    for update, pattern in enumerate(patterns):
        if update >= first:
            _set(network, pattern)
        for micro in range(COUNTS):
            model.train_step(data(rank, COUNTS * update + micro), wrapper)
    return _flat(network)


def _set(network: torch.nn.Module, pattern: dict[str, bool]) -> None:
    for name, parameter in network.named_parameters():
        for prefix, trainable in pattern.items():
            if name.startswith(prefix):
                parameter.requires_grad_(trainable)


@pytest.mark.parametrize('arm', ARMS)
def test_what_is_thawed_after_the_wrapper_was_built_is_refused(arm: str) -> None:
    patterns = [dict(neck=False), dict(neck=True)]
    with pytest.raises(RankError, match=SENTENCE):
        run_ranks(_run, 2, patterns, ARMS[arm], 1)


def test_what_is_thawed_between_the_wrapper_and_the_first_sight_is_refused() -> None:
    patterns = [dict(neck=False), dict(neck=True), {}]
    with pytest.raises(RankError, match=SENTENCE):
        run_ranks(_run, 2, patterns, ARMS['agvm'], 2)


@pytest.mark.parametrize(
    ('patterns', 'first'),
    [
        # Frozen in the run alone, or between the wrapper and the first sight.
        ([{}, dict(neck=False), dict(neck=True)], 0),
        ([{}, dict(neck=False), {}, dict(neck=True)], 2),
        # Frozen all along.
        ([dict(neck=False), {}], 1),
    ],
)
@pytest.mark.parametrize('arm', ['agvm', 'neither'])
def test_what_was_trainable_then_may_be_frozen_and_thawed(
    arm: str, patterns: list[dict[str, bool]], first: int
) -> None:
    one, other = run_ranks(_run, 2, patterns, ARMS[arm], first)
    assert torch.equal(one, other)


def test_one_process_trains_what_is_thawed() -> None:
    network = ThreePartNet().train()
    network.neck.requires_grad_(False)
    before = network.neck.weight.detach().clone()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    wrapper = AGVMOptimWrapper(optimizer, agvm=AGVM, accumulative_counts=COUNTS)
    wrapper.initialize_count_status(network, 0, COUNTS)
    network.neck.requires_grad_(True)
    for micro in range(COUNTS):
        network.train_step(data(0, micro), wrapper)
    assert not torch.equal(network.neck.weight, before)


@pytest.mark.parametrize('estimator', ['all_pairs', 'half_split'])
@pytest.mark.parametrize(
    ('frozen', 'times'), [('backbone', 1), ('neck', 0)], ids=['the anchor', 'another module']
)
def test_a_frozen_anchor_is_said_once(
    frozen: str, times: int, estimator: str, capsys: pytest.CaptureFixture[str]
) -> None:
    network = ThreePartNet().train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    agvm = dict(AGVM, estimator=estimator)
    wrapper = AGVMOptimWrapper(optimizer, agvm=agvm, accumulative_counts=COUNTS)
    wrapper.initialize_count_status(network, 0, 4 * COUNTS)
    for micro in range(4 * COUNTS):
        network.get_submodule(frozen).requires_grad_(micro < COUNTS)
        network.train_step(data(0, micro), wrapper)
    output = capsys.readouterr()
    sentence = "AGVM: the anchor 'backbone' had no gradient at update 1; it may be frozen."
    assert (output.out + output.err).count(sentence) == times


NAMES = [name for name, _ in ThreePartNet().named_parameters()]


def _random_runs(rank: int, seeds: range, arm: str) -> list[tuple[set[str], str | None, Tensor]]:
    """For every seed what DDP does not average when the run ends, the refusal and the weights."""
    found = []
    for seed in seeds:
        draw = random.Random(seed)
        patterns = [{name: draw.random() < 0.8 for name in NAMES} for _ in range(4)]
        torch.manual_seed(0)
        network = ThreePartNet().train()
        _set(network, patterns[0])
        model = MMDistributedDataParallel(network, find_unused_parameters=True)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        wrapper = AGVMOptimWrapper(optimizer, accumulative_counts=COUNTS, **ARMS[arm])
        refusal, lost = None, set()
        for update, pattern in enumerate(patterns[1:]):
            _set(network, pattern)
            if update == 0:
                wrapper.initialize_count_status(model, 0, COUNTS * 3)
            lost = {name for name in NAMES if pattern[name] and not patterns[0][name]}
            try:
                for micro in range(COUNTS):
                    model.train_step(data(rank, COUNTS * update + micro), wrapper)
            except RuntimeError as error:
                refusal = str(error)
            if refusal or lost:
                break
        found.append((lost, refusal, _flat(network)))
    return found


@pytest.mark.slow
@pytest.mark.parametrize('arm', ['agvm', 'neither'])
def test_random_patterns_are_refused_or_leave_the_ranks_equal(arm: str) -> None:
    for one, other in zip(*run_ranks(_random_runs, 2, range(50), arm)):
        (lost, refusal, weights), (_, same, others) = one, other
        assert refusal == same
        if lost:
            assert refusal is not None and any(repr(name) in refusal for name in lost)
        else:
            assert refusal is None and torch.equal(weights, others)
