"""Whatever made the parameter groups, every parameter is stepped with its own rate x its scale.

Real models of MMDetection and MMSegmentation in one process with two micro-batches an update.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from constructor_models import (
    beit,
    convnext,
    convnext_layout,
    resnet,
    rtmdet,
    segmentation_batch,
    swin,
)
from mmengine.optim import build_optim_wrapper
from networks import build_detector, detection_batch
from torch import Tensor

import agvm_mm  # noqa: F401
from agvm_mm.parts import AGVMPart

pytest.importorskip('mmcv._ext', reason='mmdet needs the compiled ops of mmcv')

COUNTS = 2
UPDATES = 3
ADAMW = dict(type='AdamW', lr=1e-3, weight_decay=0.05)
SGD = dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=1e-4)
SWIN_DECAY = {
    'absolute_pos_embed': dict(decay_mult=0.0),
    'relative_position_bias_table': dict(decay_mult=0.0),
    'norm': dict(decay_mult=0.0),
    **{f'backbone.stages.{i}': dict(lr_mult=0.7 ** (4 - i)) for i in range(4)},
}
LAYER_DECAY = dict(decay_rate=0.8, decay_type='layer_wise', num_layers=6)


@dataclass(frozen=True)
class Case:
    """A model and what an ``optim_wrapper`` needs for it.

    Args:
        model: config of the model.
        config: keys of ``optim_wrapper``.
        rates: how many different base learning rates the constructor must have made.
        frozen: prefix of parameters that must not be modulated.
        needs: package without which the case is skipped.
        batch: makes a micro-batch from its seed.
    """

    model: Callable[[], dict[str, Any]]
    config: dict[str, Any]
    rates: int
    frozen: str | None = None
    needs: str | None = None
    batch: Callable[..., dict[str, Any]] = detection_batch


def _layer_decay(model: Callable[[], dict[str, Any]], rates: int, **options: Any) -> Case:
    scope = options.pop('scope', 'mmdet')
    paramwise = dict(LAYER_DECAY, **options.pop('paramwise', {}))
    constructor = f'{scope}.LearningRateDecayOptimizerConstructor'
    config = dict(optimizer=ADAMW, constructor=constructor, paramwise_cfg=paramwise)
    return Case(model, config, rates, **options)


CASES = {
    'one group': Case(resnet, dict(optimizer=SGD), 1),
    'paramwise and custom keys': Case(
        resnet,
        dict(
            optimizer=SGD,
            paramwise_cfg=dict(
                norm_decay_mult=0.0,
                bias_decay_mult=0.0,
                bias_lr_mult=2.0,
                custom_keys={
                    'backbone': dict(lr_mult=0.1),
                    'backbone.layer4': dict(lr_mult=0.5, decay_mult=0.9),
                    'bbox_head.retina_cls': dict(lr_mult=10.0),
                },
            ),
        ),
        5,
    ),
    'frozen stages': Case(
        lambda: resnet(frozen_stages=2),
        dict(optimizer=SGD, paramwise_cfg=dict(norm_decay_mult=0.0)),
        1,
        frozen='backbone.layer2',
    ),
    'frozen stages, one group': Case(
        lambda: resnet(frozen_stages=1), dict(optimizer=SGD), 1, frozen='backbone.layer1'
    ),
    'Swin with layer decay': Case(
        swin, dict(optimizer=ADAMW, paramwise_cfg=dict(custom_keys=SWIN_DECAY)), 5
    ),
    'ConvNeXt with layer decay': _layer_decay(convnext_layout, 6),
    'ConvNeXt with stage decay': _layer_decay(
        convnext_layout, 6, paramwise=dict(decay_type='stage_wise', num_layers=4)
    ),
    'ConvNeXt of mmpretrain': _layer_decay(convnext, 6, needs='mmpretrain.models'),
    'BEiT with layer decay': _layer_decay(
        beit, 6, scope='mmseg', paramwise=dict(num_layers=4), batch=segmentation_batch
    ),
    'Muon and its rest': Case(
        resnet,
        dict(
            optimizer=dict(
                type='MuonOptimizer', lr=1e-3, weight_decay=0.05, rest=dict(lr_ratio=0.5)
            ),
            constructor='MuonOptimWrapperConstructor',
            paramwise_cfg=dict(norm_decay_mult=0.0),
        ),
        2,
    ),
    'shared parameters': Case(
        rtmdet,
        dict(
            optimizer=ADAMW,
            paramwise_cfg=dict(norm_decay_mult=0, bias_decay_mult=0, bypass_duplicate=True),
        ),
        1,
    ),
}


def _build(case: Case, wrapper: dict[str, Any]) -> tuple[Any, Any]:
    if case.needs:
        pytest.importorskip(case.needs, reason=f'{case.needs} is not installed')
    if case.batch is segmentation_batch:
        pytest.importorskip('mmseg.models')
    model = build_detector(case.model())
    config = dict(copy.deepcopy(case.config), accumulative_counts=COUNTS, **wrapper)
    return model, build_optim_wrapper(model, config)


def _train(case: Case, model: Any, wrapper: Any, start: int, stop: int) -> Tensor:
    wrapper.initialize_count_status(model, start * COUNTS, UPDATES * COUNTS)
    for micro in range(start * COUNTS, stop * COUNTS):
        model.train_step(case.batch((0, micro)), wrapper)
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def _agvm(**settings: Any) -> dict[str, Any]:
    return dict(type='AGVMOptimWrapper', agvm=dict(dict(interval=1, momentum=0.5), **settings))


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def _module_of(name: str) -> str:
    return name.partition('.')[0]


def test_every_parameter_steps_with_its_base_rate_times_the_scale_of_its_module(case):
    model, wrapper = _build(case, _agvm())
    optimizer = wrapper.optimizer
    groups, before = optimizer.param_groups, _settings(optimizer)
    base = {id(p): group['lr'] for group in groups for p in group['params']}
    assert len({round(rate, 12) for rate in base.values()}) == case.rates
    seen: dict[int, tuple[float, dict[str, Any]]] = {}
    optimizer.register_step_pre_hook(
        lambda *_: seen.update(
            {id(p): (g['lr'], _others(g)) for g in optimizer.param_groups for p in g['params']}
        )
    )
    _train(case, model, wrapper, 0, UPDATES)

    entries = wrapper.state_dict()['agvm']['modules']
    scales = {name: entry['scale'] for name, entry in entries.items()}
    assert max(abs(scale - 1) for scale in scales.values()) > 0.01, scales
    others = {id(p): _others(group) for group in groups for p in group['params']}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        rate, rest = seen[id(parameter)]
        assert rate == pytest.approx(base[id(parameter)] * scales[_module_of(name)], rel=1e-12)
        assert rest == others[id(parameter)], name
    assert optimizer.param_groups is groups and _settings(optimizer) == before


def _others(group: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in group.items() if key not in ('params', 'lr')}


def _settings(optimizer: torch.optim.Optimizer) -> list[Any]:
    return [
        (group['lr'], _others(group), [id(p) for p in group['params']])
        for group in optimizer.param_groups
    ]


def test_measuring_alone_is_bitwise_the_plain_wrapper(case):
    model, plain = _build(case, dict(type='OptimWrapper'))
    expected = _train(case, model, plain, 0, UPDATES)
    model, measuring = _build(case, _agvm(apply=False))
    assert torch.equal(_train(case, model, measuring, 0, UPDATES), expected)
    entries = measuring.state_dict()['agvm']['modules'].values()
    assert all(entry['estimates'] == UPDATES for entry in entries)
    model, modulating = _build(case, _agvm())
    assert not torch.equal(_train(case, model, modulating, 0, UPDATES), expected)


def test_a_checkpoint_is_a_plain_one_and_an_entry_more(case):
    model, wrapper = _build(case, _agvm())
    whole = _train(case, model, wrapper, 0, UPDATES)
    model, wrapper = _build(case, _agvm())
    _train(case, model, wrapper, 0, 1)
    weights, state = copy.deepcopy((model.state_dict(), wrapper.state_dict()))

    plain_model, plain = _build(case, dict(type='OptimWrapper'))
    _train(case, plain_model, plain, 0, 1)
    plain_state = plain.state_dict()
    assert {*state} == {*plain_state, 'agvm', 'updates'}
    assert state['state'].keys() == plain_state['state'].keys()
    assert [{**group, 'lr': 0} for group in state['param_groups']] == [
        {**group, 'lr': 0} for group in plain_state['param_groups']
    ]
    plain.load_state_dict(copy.deepcopy(state))

    model, resumed = _build(case, _agvm())
    model.load_state_dict(weights)
    resumed.load_state_dict(state)
    assert torch.equal(_train(case, model, resumed, 1, UPDATES), whole)


def test_frozen_parameters_do_not_move_and_belong_to_no_module():
    for case in (case for case in CASES.values() if case.frozen):
        model, wrapper = _build(case, _agvm())
        frozen = {n: p.clone() for n, p in model.named_parameters() if n.startswith(case.frozen)}
        assert frozen
        _train(case, model, wrapper, 0, 1)
        assert not {*frozen} & {*wrapper.part(AGVMPart).partition.parameter_names}
        assert all(torch.equal(frozen[n], p) for n, p in model.named_parameters() if n in frozen)


def test_a_shared_parameter_counts_once():
    model, wrapper = _build(CASES['shared parameters'], _agvm())
    named = list(model.named_parameters(remove_duplicate=False))
    assert len(named) > len({id(parameter) for _, parameter in named}), 'nothing is shared'
    wrapper.initialize_count_status(model, 0, COUNTS)
    partition = wrapper.part(AGVMPart).partition
    assert len(partition.parameters) == len({id(parameter) for parameter in partition.parameters})
    assert {id(p) for p in partition.parameters} == {id(p) for _, p in named if p.requires_grad}
    assert sum(partition.sizes()) == sum(p.numel() for p in model.parameters() if p.requires_grad)
