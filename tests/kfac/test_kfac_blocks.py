"""AGVM measured in K-FAC's geometry: the cosine of P g_a and P g_b, over any split of the work."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from kfac_nets import MixedNet, mixed_batch
from kinds_net import KindsNet
from mmengine.model import BaseModel, MMDistributedDataParallel
from ranks import run_ranks
from torch import Tensor

from agvm_mm import AGVMOptimWrapper
from agvm_mm.parts import AGVMPart, KFACPart

UPDATES, BATCH = 3, 8
Build = type[BaseModel]
AGVM = dict(interval=1, momentum=0.0, estimator='half_split', precondition='kfac')
KFAC = dict(momentum=0.5, statistics_interval=1, inverse_interval=1, damping=0.1)


def _wrapper(network: Any, counts: int, **changes: Any) -> AGVMOptimWrapper:
    options: Any = dict(agvm=AGVM, kfac=KFAC, accumulative_counts=counts)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    return AGVMOptimWrapper(optimizer, **{**options, **changes})


def _train(
    rank: int, ranks: int, counts: int, build: Build, **changes: Any
) -> list[dict[str, Tensor]]:
    """Phi of every update, with the weights and inverses that it was measured at."""
    torch.manual_seed(0)
    network = build().double().train()
    model = MMDistributedDataParallel(network) if ranks > 1 else network
    wrapper = _wrapper(network, counts, **changes)
    wrapper.initialize_count_status(model, 0, UPDATES * counts)
    share, found = BATCH // ranks // counts, []
    for update in range(UPDATES):
        kfac = wrapper.part(KFACPart).preconditioner
        before = dict(
            weights={k: v.clone() for k, v in network.state_dict().items()},
            solutions=[x.solution and [f.clone() for f in x.solution] for x in kfac.layers],
        )
        for micro in range(counts):
            first = (rank * counts + micro) * share
            data = mixed_batch(update, range(first, first + share), torch.float64)
            model.train_step(data, wrapper)
        phi = wrapper.part(AGVMPart).state.phi.clone()
        found.append({**before, 'phi': phi, 'skipped': wrapper.part(AGVMPart).skipped})
    return found


def _half_gradient(network: MixedNet, update: int, images: range) -> None:
    network.zero_grad()
    network(**mixed_batch(update, images, torch.float64), mode='loss')['loss'].backward()


def _expected(step: dict[str, Any], update: int, build: Build) -> Tensor:
    """1 - cos by module, with K-FAC's own step as the preconditioner."""
    network = build().double().train()
    network.load_state_dict(step['weights'])
    wrapper = _wrapper(network, 2, agvm=None)
    wrapper.initialize_count_status(network, 0, 100)
    kfac = wrapper.part(KFACPart).preconditioner
    for layer, solution in zip(kfac.layers, step['solutions']):
        layer.solution, layer.solved = solution, True
    halves = []
    for images in (range(BATCH // 2), range(BATCH // 2, BATCH)):
        _half_gradient(network, update, images)
        for layer, matrix in kfac._precondition()[1].items():
            layer.helper.write(matrix)
        modules = network.named_children()
        halves.append(
            [
                torch.cat([p.grad.flatten() for p in child.parameters()])
                for name, child in modules
                if list(child.parameters())
            ]
        )
    return torch.stack([1 - a @ b / (a.norm() * b.norm()) for a, b in zip(*halves)])


@pytest.fixture(scope='module')
def alone() -> list[dict[str, Any]]:
    return _train(0, 1, 2, MixedNet)


@pytest.mark.parametrize('build', [MixedNet, KindsNet])
def test_phi_is_that_of_the_preconditioned_halves(build: Build) -> None:
    alone = _train(0, 1, 2, build)
    for update in range(1, UPDATES):
        expected = _expected(alone[update], update, build)
        torch.testing.assert_close(alone[update]['phi'], expected, rtol=1e-9, atol=1e-12)
    assert alone[-1]['skipped'] == 0


def test_it_is_not_that_of_the_plain_halves(alone: list[dict[str, Any]]) -> None:
    step = dict(alone[1], solutions=[None] * len(alone[1]['solutions']))
    network = MixedNet().double().train()
    network.load_state_dict(step['weights'])
    halves = []
    for images in (range(4), range(4, 8)):
        _half_gradient(network, 1, images)
        halves.append(torch.cat([p.grad.flatten() for p in network.head.parameters()]))
    plain = 1 - halves[0] @ halves[1] / (halves[0].norm() * halves[1].norm())
    assert abs(float(alone[1]['phi'][-1]) - float(plain)) > 1e-3


@pytest.mark.parametrize(('ranks', 'counts'), [(2, 1), (4, 1), (2, 2)])
def test_any_number_of_ranks_measures_the_same(
    alone: list[dict[str, Any]], ranks: int, counts: int
) -> None:
    for result in run_ranks(_train, ranks, ranks, counts, MixedNet):
        for found, one in zip(result[1:], alone[1:]):
            torch.testing.assert_close(found['phi'], one['phi'], rtol=1e-7, atol=1e-10)


def _attentions(rank: int, ranks: int, counts: int) -> Any:
    # Without the largest layers, so that both ranks own some of the projections.
    kfac = dict(KFAC, exclude=['backbone', 'neck'])
    return _train(rank, ranks, counts, KindsNet, kfac=kfac)


def test_layers_that_share_a_parameter_on_other_ranks() -> None:
    """The projections of an attention have owners of their own."""
    alone = _attentions(0, 1, 2)
    for result in run_ranks(_attentions, 2, 2, 1):
        for found, one in zip(result[1:], alone[1:]):
            torch.testing.assert_close(found['phi'], one['phi'], rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize(
    ('changes', 'match'),
    [
        (dict(kfac=None), r"agvm\.precondition is 'kfac', but K-FAC is off"),
        (
            dict(agvm=dict(AGVM, estimator='all_pairs')),
            "precondition is 'kfac'.*estimator='half_split'",
        ),
        (
            dict(agvm=dict(AGVM, precondition='adam')),
            "precondition is 'adam'.*True or False, or 'kfac'",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused(changes: dict[str, Any], match: str) -> None:
    network = MixedNet()
    with pytest.raises(ValueError, match=match):
        _wrapper(network, 2, **changes).initialize_count_status(network, 0, 100)
