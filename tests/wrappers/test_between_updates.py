"""What happens between updates: validation, freezing and thawing, a part that is left out."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from compiler import needs_harmless_compiler
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from ranks import run_ranks
from runs import ThreePartNet, data

from agvm_mm.loop.images import ImageCounter
from agvm_mm.parts import AGVMPart, KFACPart
from agvm_mm.wrappers import AGVMOptimWrapper

AGVM = dict(interval=1, momentum=0.5)
KFAC = dict(statistics_interval=1, inverse_interval=1, momentum=0.5, damping=0.1)
COUNTS = 2


def build(**options: Any) -> tuple[ThreePartNet, AGVMOptimWrapper]:
    torch.manual_seed(0)
    model = ThreePartNet().train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    options = {'agvm': AGVM, 'accumulative_counts': COUNTS, **options}
    return model, AGVMOptimWrapper(optimizer, **options)


def train(model: Any, wrapper: AGVMOptimWrapper, steps: range, rank: int = 0) -> None:
    for step in steps:
        model.train_step(data(rank, step), wrapper)


def weights(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def test_images_of_a_validation_are_not_counted() -> None:
    found = []
    for validates in (False, True):
        model, wrapper = build(kfac=KFAC)
        wrapper.initialize_count_status(model, 0, 4 * COUNTS)
        train(model, wrapper, range(2 * COUNTS))
        if validates:
            model.eval()
            model.val_step(data(0, 99))
            model.train()
        train(model, wrapper, range(2 * COUNTS, 4 * COUNTS))
        factors = [entry['factors'] for entry in wrapper.state_dict()['kfac']['layers'].values()]
        found.append((wrapper.state_dict()['agvm'], factors, weights(model)))
    (plain, plain_factors, plain_weights), (other, factors, end) = found
    assert plain == other
    assert all(torch.equal(a, b) for a, b in zip(plain_factors, factors))
    assert torch.equal(plain_weights, end)


def test_images_of_a_forward_without_gradients_are_not_counted() -> None:
    """In training mode, as when the statistics of batch normalisation are estimated anew."""
    found = []
    for looks in (False, True):
        model, wrapper = build(kfac=KFAC)
        wrapper.initialize_count_status(model, 0, 2 * COUNTS)
        for step in range(2 * COUNTS):
            if looks:
                with torch.no_grad():
                    model(**model.data_preprocessor(data(0, 99), True))
            train(model, wrapper, range(step, step + 1))
        factors = [entry['factors'] for entry in wrapper.state_dict()['kfac']['layers'].values()]
        found.append((wrapper.state_dict()['agvm'], factors))
    (plain, plain_factors), (other, factors) = found
    assert plain == other and plain['images'] == 2 * COUNTS
    for ours, theirs in zip(plain_factors, factors):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs))


LABELLED = [torch.zeros(3, 4, 4)] * 2
WEAK, STRONG = [torch.zeros(3, 4, 4)] * 3, [torch.zeros(3, 4, 4)] * 3


@pytest.mark.parametrize(
    ('inputs', 'images'),
    [
        # As mmdet's loader puts it together: a place in every branch for every image.
        (
            dict(
                sup=[*LABELLED, None, None, None],
                unsup_teacher=[None, None, *WEAK],
                unsup_student=[None, None, *STRONG],
            ),
            5,
        ),
        # One branch alone, and two views of the same images.
        (dict(sup=LABELLED), 2),
        (dict(weak=torch.stack(WEAK), strong=torch.stack(STRONG)), 3),
        (LABELLED, 2),
        (torch.stack(WEAK), 3),
        (7, 0),
    ],
)
def test_an_image_with_several_views_counts_once(inputs: Any, images: int) -> None:
    counter = ImageCounter()
    preprocessor = Dropping()
    model = torch.nn.Module()
    model.data_preprocessor = preprocessor
    counter.attach(model)
    preprocessor(copy.deepcopy(dict(inputs=inputs)), True)
    preprocessor(data=copy.deepcopy(dict(inputs=inputs)))
    assert counter.take() == 2 * images


class Dropping(torch.nn.Module):
    """Leaves out the empty places in its argument, as mmdet's does."""

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        if isinstance(data['inputs'], dict):
            for name, branch in data['inputs'].items():
                data['inputs'][name] = [image for image in branch if image is not None]
        return data


@pytest.mark.parametrize('start', [0, 4])
def test_a_loop_of_unknown_length_estimates(start: int) -> None:
    """MMEngine writes -1 for it, and no update is then a remainder."""
    states = []
    for length in (start + 2 * COUNTS, -1):
        model, wrapper = build()
        wrapper.initialize_count_status(model, start, length)
        train(model, wrapper, range(2 * COUNTS))
        states.append(wrapper.part(AGVMPart).state_dict())
    assert states[0] == states[1]
    assert states[0]['modules']['head']['estimates'] == 2


def _freeze(rank: int, options: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor, Any]:
    """Some backbones freeze their first stages in ``train()``, after the wrapper has seen them."""
    network, wrapper = build(**options)
    model = MMDistributedDataParallel(network, find_unused_parameters=True)
    wrapper.initialize_count_status(model, 0, 3 * COUNTS)
    frozen = network.backbone[0].weight.requires_grad_(False)
    before, neck = frozen.detach().clone(), network.neck.weight.detach().clone()
    train(model, wrapper, range(2 * COUNTS), rank)
    assert torch.equal(frozen, before)
    moved = (network.neck.weight - neck).detach()
    return (
        weights(network),
        moved,
        None if wrapper.part(AGVMPart) is None else wrapper.part(AGVMPart).skipped,
    )


@pytest.mark.parametrize(
    'options',
    [
        dict(agvm=AGVM),
        dict(agvm=dict(AGVM, estimator='half_split')),
        dict(agvm=None, kfac=KFAC),
        dict(agvm=dict(AGVM, estimator='half_split', precondition='kfac'), kfac=KFAC),
    ],
    ids=['all_pairs', 'half_split', 'kfac', 'in the geometry of kfac'],
)
def test_a_parameter_may_be_frozen_after_the_start(options: dict[str, Any]) -> None:
    results = run_ranks(_freeze, 2, options)
    assert torch.equal(results[0][0], results[1][0])
    assert results[0][0].isfinite().all()
    assert results[0][1].abs().max() > 0
    assert not results[0][2]


def test_a_thawed_parameter_steps_with_its_module_or_the_anchor() -> None:
    model, wrapper = build()
    late, alone = model.neck.weight.requires_grad_(False), model.head.requires_grad_(False).weight
    wrapper.initialize_count_status(model, 0, COUNTS)
    late.requires_grad_(True)
    alone.requires_grad_(True)
    names = wrapper.part(AGVMPart).partition.names
    assert names == ('backbone', 'neck')
    [pieces] = wrapper.part(AGVMPart).plan.pieces()
    module_of = {id(p): names[module] for module, members in pieces for p in members}
    assert module_of[id(late)] == 'neck'
    assert module_of[id(alone)] == 'backbone'


class TestSwitchedOff:
    def test_updates_are_counted_without_agvm(self) -> None:
        model, wrapper = build(agvm=None)
        wrapper.initialize_count_status(model, 0, 6 * COUNTS)
        train(model, wrapper, range(3 * COUNTS))
        saved = wrapper.state_dict()
        # As after stages of a curriculum with more micro-batches an update.
        again, resumed = build(agvm=None, kfac=KFAC)
        resumed.load_state_dict(saved)
        resumed.initialize_count_status(again, 5 * COUNTS, 9 * COUNTS)
        assert resumed.updates == 3
        train(again, resumed, range(COUNTS))
        assert resumed.state_dict()['updates'] == 4

    def test_a_plain_checkpoint_counts_by_its_iterations(self) -> None:
        model, wrapper = build(agvm=None, kfac=KFAC)
        plain = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
        wrapper.load_state_dict(plain.state_dict())
        wrapper.initialize_count_status(model, 6, 20)
        assert wrapper.updates == 3

    @pytest.mark.parametrize('part', ['agvm', 'kfac'])
    def test_the_state_of_a_part_that_is_left_out_goes(self, part: str) -> None:
        model, wrapper = build(kfac=KFAC)
        wrapper.initialize_count_status(model, 0, 4)
        train(model, wrapper, range(COUNTS))
        saved = wrapper.state_dict()
        assert part in saved
        again, resumed = build(**{'kfac': KFAC, part: None})
        resumed.load_state_dict(saved)
        resumed.initialize_count_status(again, COUNTS, 4)
        assert part not in resumed.state_dict()


def test_the_kl_clip_bounds_the_step_that_is_made() -> None:
    """sum over layers of <step, rate x gradient> x scale is the bound, with AGVM's scales too."""
    limit = 1e-6
    model, wrapper = build(kfac=dict(KFAC, kl_clip=limit), agvm=dict(AGVM, momentum=0.0))
    wrapper.initialize_count_status(model, 0, 2 * COUNTS)
    train(model, wrapper, range(COUNTS))
    scales = wrapper.part(AGVMPart).scales(wrapper.updates)
    assert min(scales) < 0.9
    before = [p.detach().clone() for p in model.parameters()]
    gradients = _mean_gradients(model, range(COUNTS, 2 * COUNTS))
    train(model, wrapper, range(COUNTS, 2 * COUNTS))
    scales = dict(
        zip(wrapper.part(AGVMPart).partition.names, wrapper.part(AGVMPart).scales(wrapper.updates))
    )
    size = sum(
        0.1 * scales[name.split('.')[0]] * float(((old - p.detach()) * g).sum())
        for (name, p), old, g in zip(model.named_parameters(), before, gradients)
    )
    multiplier = wrapper.part(KFACPart).preconditioner.kl_multiplier
    assert multiplier < 1
    assert size * multiplier == pytest.approx(limit, rel=1e-3)


def _mean_gradients(model: ThreePartNet, steps: range) -> list[torch.Tensor]:
    model.zero_grad()
    for step in steps:
        batch = data(0, step)
        (model(batch['inputs'], batch['data_samples'])['loss'] / len(steps)).backward()
    gradients = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    return gradients


@needs_harmless_compiler
def test_a_model_that_is_compiled_after_the_start_is_refused() -> None:
    model, wrapper = build(kfac=KFAC)
    wrapper.initialize_count_status(model, 0, COUNTS)
    model.train_step = torch.compile(model.train_step, backend='eager')
    with pytest.raises(ValueError, match='the model is compiled'):
        model.train_step(data(0, 0), wrapper)
