"""The modules of a network where none are given: by structure, never by class."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from agvm_mm.statistics import partition_parameters


def tree(**children: Any) -> nn.Module:
    """A module of children: a number makes a layer of so many weights, a dict another module."""
    module = nn.Module()
    for name, value in children.items():
        if isinstance(value, dict):
            module.add_module(name, tree(**value))
        elif isinstance(value, int):
            module.add_module(name, nn.Linear(value, 1, bias=False))
        elif isinstance(value, nn.Parameter):
            module.register_parameter(name, value)
        else:
            module.add_module(name, value)
    return module


def sizes(model: nn.Module, modules: Any = None) -> dict[str, int]:
    partition = partition_parameters(model, modules)
    return dict(zip(partition.names, partition.sizes()))


def detector(**more: Any) -> dict[str, Any]:
    return dict(
        backbone=500, neck=100, rpn_head=20, roi_head=dict(bbox_head=300, mask_head=80), **more
    )


TWO_STAGE = {
    'backbone': 500,
    'neck': 100,
    'rpn_head': 20,
    'roi_head.bbox_head': 300,
    'roi_head.mask_head': 80,
}


def test_a_two_stage_detector_is_divided_as_by_children():
    assert sizes(tree(**detector())) == sizes(tree(**detector()), 'children') == TWO_STAGE
    assert sizes(tree(**detector()), 'default') == TWO_STAGE


@pytest.mark.parametrize(
    'head',
    [
        dict(psp_modules=50, lateral_convs=100, conv_seg=3),  # UPerNet
        dict(scale_heads=100, conv_seg=3),  # Semantic FPN
        dict(cls_convs=100, retina_cls=50),  # RetinaNet
        nn.ModuleList([nn.Linear(100, 1), nn.Linear(100, 1)]),  # CascadeEncoderDecoder
    ],
)
def test_a_head_of_layers_stays_whole(head):
    model = tree(backbone=500, decode_head=head, auxiliary_head=50)
    assert list(sizes(model)) == ['backbone', 'decode_head', 'auxiliary_head']


def test_a_head_with_subnetworks_of_their_own_is_split_and_the_rest_keeps_its_name():
    head = dict(
        query_embed=nn.Embedding(2, 1),
        pixel_decoder=200,
        transformer_decoder=250,
        cls_embed=3,
        mask_embed=4,
    )
    assert sizes(tree(backbone=541, panoptic_head=head)) == {
        'backbone': 541,
        'panoptic_head.pixel_decoder': 200,
        'panoptic_head.transformer_decoder': 250,
        'panoptic_head': 9,
    }


def test_extractors_are_networks_too():
    roi_head = dict(bbox_roi_extractor=200, bbox_head=100)
    assert sizes(tree(backbone=500, roi_head=roi_head)) == {
        'backbone': 500,
        'roi_head.bbox_roi_extractor': 200,
        'roi_head.bbox_head': 100,
    }


def test_the_small_rest_of_a_split_head_joins_too():
    """PIDNet: three heads, and one layer beside them."""
    head = dict(i_head=30, p_head=20, conv_seg=2)
    assert sizes(tree(backbone=948, decode_head=head)) == {
        'backbone': 948,
        'decode_head.i_head': 32,
        'decode_head.p_head': 20,
    }


def test_handfuls_of_numbers_join_the_largest_module_beside_the_anchor():
    """A DETR of 1,000 numbers, of which 0.5 % are five."""
    model = tree(
        level_embed=nn.Parameter(torch.zeros(4)),
        backbone=500,
        neck=84,
        encoder=190,
        decoder=210,
        bbox_head=4,  # a head has layers, however few
        query_embedding=nn.Embedding(4, 1),
        memory_trans_norm=nn.LayerNorm(2),
    )
    expected = dict(backbone=500, neck=84, encoder=190, decoder=210 + 4 + 4 + 4, bbox_head=4)
    assert sizes(model) == expected and list(sizes(model)) == list(expected)
    assert sizes(model, 'children')['level_embed'] == 4


def test_five_thousandths_are_enough():
    small = dict(backbone=500, encoder=496)
    assert sizes(tree(**small, text_feat_map=4)) == dict(backbone=500, encoder=500)
    enough = dict(backbone=500, encoder=495, text_feat_map=5)
    assert sizes(tree(**enough)) == enough


def test_a_head_of_embeddings_alone_is_none():
    embeddings = dict(init_proposals=nn.Embedding(2, 1))
    model = tree(backbone=500, rpn_head=embeddings, roi_head=dict(bbox_head=498))
    assert sizes(model) == {'backbone': 500, 'roi_head.bbox_head': 500}


def test_a_network_in_a_network_is_opened():
    """Semi-supervised: the frozen teacher has nothing; a tracker: more beside the detector."""
    semi = tree(student=detector(), teacher=detector())
    semi.teacher.requires_grad_(False)
    assert sizes(semi) == {f'student.{name}': size for name, size in TWO_STAGE.items()}
    tracker = tree(detector=detector(), track_head=50)
    assert list(sizes(tracker)) == [f'detector.{name}' for name in TWO_STAGE] + ['track_head']
    assert partition_parameters(tracker).anchor('backbone') == 'detector.backbone'


def test_frozen_numbers_have_no_share():
    model = tree(backbone=5000, neck=20, bbox_head=980)
    model.backbone.requires_grad_(False)
    assert sizes(model) == dict(neck=20, bbox_head=980)


def test_nothing_joins_where_all_is_small_or_anchor():
    assert sizes(tree(backbone=9999, scale=1)) == dict(backbone=9999, scale=1)


@pytest.mark.parametrize(
    ('children', 'wanted', 'found'),
    [
        (dict(backbone=500, bbox_head=100), 'backbone', 'backbone'),
        (dict(image_encoder=500, text_encoder=300, decode_head=90), 'backbone', 'image_encoder'),
        (dict(model=detector()), 'backbone', 'model.backbone'),
        (dict(model=detector()), 'bbox_head', 'model.roi_head.bbox_head'),
        (dict(one=detector(), two=detector()), 'backbone', None),
        (dict(one=detector(), two=detector()), 'two.backbone', 'two.backbone'),
        (dict(trunk=500, bbox_head=100), 'backbone', None),
    ],
)
def test_the_anchor_is_found_wherever_it_is(children, wanted, found):
    assert partition_parameters(tree(**children)).anchor(wanted) == found
