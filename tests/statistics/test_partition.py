"""Every trainable parameter in exactly one module, or one sentence that names it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from agvm_mm.statistics import partition_parameters


def _two_stage() -> nn.Module:
    model = nn.Module()
    model.backbone = nn.Linear(3, 4)
    model.neck = nn.Linear(4, 4, bias=False)
    model.rpn_head = nn.Linear(4, 1)
    model.roi_head = nn.Module()
    model.roi_head.bbox_head = nn.ModuleList([nn.Linear(4, 2), nn.Linear(4, 2)])
    model.roi_head.mask_head = nn.Linear(4, 5)
    model.query = nn.Parameter(torch.zeros(7))
    return model


def test_top_level_children_with_roi_head_split_into_heads():
    partition = partition_parameters(_two_stage())
    assert partition.names == (
        'query',
        'backbone',
        'neck',
        'rpn_head',
        'roi_head.bbox_head',
        'roi_head.mask_head',
    )
    assert partition.sizes() == [7, 16, 16, 5, 20, 25]


def test_frozen_parameters_stay_out():
    model = _two_stage()
    model.backbone.weight.requires_grad_(False)
    partition = partition_parameters(model)
    assert 'backbone.weight' not in partition.parameter_names
    assert partition.sizes()[partition.index('backbone')] == 4


def test_sum_adds_parameters_up_to_modules():
    partition = partition_parameters(_two_stage())
    ones = torch.ones(len(partition.parameters), dtype=torch.float64)
    assert partition.sum(ones).tolist() == [1, 2, 1, 2, 4, 2]


def test_prefixes_match_whole_names_only():
    model = nn.Module()
    model.neck, model.neck2, model.backbone = nn.Linear(1, 1), nn.Linear(1, 1), nn.Linear(1, 1)
    partition = partition_parameters(model, {'trunk': ['backbone', 'neck'], 'second': ['neck2']})
    names = dict(zip(partition.parameter_names, partition.module_of.tolist()))
    assert names['neck.weight'] == names['backbone.bias'] == partition.index('trunk')
    assert names['neck2.weight'] == partition.index('second')


@pytest.mark.parametrize(
    ('modules', 'sentence'),
    [
        ({'backbone': ['backbone']}, r"'query' is in no module.*agvm\.modules"),
        (
            {'a': ['backbone', 'neck', 'rpn_head', 'roi_head', 'query'], 'b': ['neck']},
            r"'neck\.weight' is in several modules \(a, b\)",
        ),
        (
            {'a': ['backbone', 'neck', 'rpn_head', 'roi_head', 'query', 'necks']},
            r"prefix 'necks', which matches no parameter.*backbone, neck, rpn_head, roi_head",
        ),
    ],
)
def test_wrong_modules_are_named(modules, sentence):
    with pytest.raises(ValueError, match=sentence):
        partition_parameters(_two_stage(), modules)


def test_a_shared_parameter_counts_once_within_a_module():
    model = nn.Module()
    model.backbone = nn.Linear(2, 2)
    model.bbox_head = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    model.bbox_head[1].weight = model.bbox_head[0].weight
    assert partition_parameters(model).sizes() == [6, 8]


@pytest.mark.parametrize('modules', [None, 'children'])
def test_the_first_owner_keeps_a_parameter_shared_between_modules(modules):
    """As in DDQ, where the decoder holds layers of the head."""
    model = nn.Module()
    model.backbone = nn.Linear(2, 2)
    model.bbox_head, model.decoder = nn.Linear(3, 3), nn.Linear(3, 3)
    model.decoder.weight = model.bbox_head.weight
    partition = partition_parameters(model, modules)
    assert partition.names == ('backbone', 'bbox_head', 'decoder')
    assert partition.sizes() == [6, 12, 3]
    assert 'decoder.weight' not in partition.parameter_names


def test_named_modules_that_share_a_parameter_are_refused():
    model = nn.Module()
    model.backbone, model.bbox_head = nn.Linear(2, 2), nn.Linear(2, 2)
    model.bbox_head.weight = model.backbone.weight
    with pytest.raises(ValueError, match=r"'backbone\.weight' is shared with 'bbox_head\.weight'"):
        partition_parameters(model, {'backbone': ['backbone'], 'head': ['bbox_head']})
    together = partition_parameters(model, {'all': ['backbone', 'bbox_head']})
    assert together.sizes() == [8]


def test_nothing_trainable_is_refused():
    model = nn.Linear(2, 2).requires_grad_(False)
    with pytest.raises(ValueError, match='no trainable parameter'):
        partition_parameters(model)


def test_a_complex_parameter_is_refused_by_name_unless_it_is_frozen():
    model = _two_stage()
    model.neck.phase = nn.Parameter(torch.zeros(3, dtype=torch.complex64))
    with pytest.raises(ValueError, match=r"'neck.phase' is complex \(torch.complex64\)"):
        partition_parameters(model)
    model.neck.phase.requires_grad_(False)
    assert 'neck.phase' not in partition_parameters(model).parameter_names


def _comparisons(modules: int) -> int:
    """Look-ups of names while a model of so many modules is partitioned by prefixes."""
    seen = 0

    class Name(str):
        def __eq__(self, other: object) -> bool:
            nonlocal seen
            seen += 1
            return str.__eq__(self, other)  # type: ignore[arg-type]

        __hash__ = str.__hash__

    model = nn.Module()
    for i in range(modules):
        model.add_module(f'm{i}', nn.Linear(1, 1, bias=False))
    named = {Name(f'm{i}'): [Name(f'm{i}')] for i in range(modules)}
    partition = partition_parameters(model, named)
    assert partition.module_of.tolist() == list(range(modules))
    return seen


def test_the_work_grows_with_the_number_of_modules_not_with_its_square():
    assert _comparisons(200) <= 2.5 * _comparisons(100) + 100
