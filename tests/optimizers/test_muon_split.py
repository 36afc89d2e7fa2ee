"""Which parameters are Muon's: layers of every kind, real models, other constructors."""

from __future__ import annotations

import copy
import logging
from typing import Any

import pytest
import torch
from constructor_models import beit, convnext_layout, resnet, rtmdet, segmentation_batch, swin
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from networks import build_detector, detection_batch
from torch import nn

import agvm_mm  # noqa: F401
from agvm_mm.optimizers import split_parameters
from agvm_mm.optimizers.muon_split import EXCLUDED, OFFSET, PREDICTION, SMALL, TABLE

MUON = dict(type='MuonOptimizer', lr=0.01, weight_decay=0.1, rest=dict(lr_ratio=0.5))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.num_heads = 2
        self.qkv = nn.Linear(8, 24)
        self.sampling_offsets = nn.Linear(8, 16)
        self.relative_position_bias_table = nn.Parameter(torch.zeros(9, 2))


class Net(nn.Module):
    """A layer of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, groups=4)
        )
        self.up = nn.ConvTranspose2d(8, 4, 2, groups=2)
        self.attention = Attention()
        self.torch_attention = nn.MultiheadAttention(8, 4)
        self.query = nn.Embedding(5, 8)
        self.pos_embed = nn.Parameter(torch.zeros(1, 5, 8))
        self.gamma = nn.Parameter(torch.ones(8))
        self.temperature = nn.Parameter(torch.ones(()))
        self.fc_cls = nn.Linear(8, 3)
        self.reg_branches = nn.ModuleList(
            nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)) for _ in range(2)
        )


def found(model: nn.Module, **options: Any) -> dict[str, Any]:
    """Layout or reason of every parameter of two and more dimensions, by name."""
    split = split_parameters(model, **options)
    named = dict(model.named_parameters())
    assert all((id(p) in split.layouts) != (id(p) in split.reasons) for p in named.values())
    return {
        name: tuple(split.layouts[id(p)]) if id(p) in split.layouts else split.reasons[id(p)]
        for name, p in named.items()
        if p.ndim > 1
    }


EVERY_KIND = {
    'pos_embed': TABLE,
    'backbone.0.weight': (1, False),
    'backbone.2.weight': (4, False),
    'up.weight': (2, True),
    'attention.relative_position_bias_table': TABLE,
    'attention.qkv.weight': (1, False),
    'attention.sampling_offsets.weight': OFFSET,
    'torch_attention.in_proj_weight': (1, False),
    'torch_attention.out_proj.weight': (1, False),
    'query.weight': TABLE,
    'fc_cls.weight': PREDICTION,
    'reg_branches.0.0.weight': (1, False),
    'reg_branches.0.2.weight': PREDICTION,
    'reg_branches.1.0.weight': (1, False),
    'reg_branches.1.2.weight': PREDICTION,
}


def test_every_kind_of_layer() -> None:
    assert found(Net()) == EVERY_KIND
    split = split_parameters(model := Net())
    small = [p for p in model.parameters() if p.ndim < 2]
    assert small and all(split.reasons[id(p)] == SMALL for p in small)


def test_patterns_take_precedence() -> None:
    changed = found(Net(), include=['pos_embed', r'fc_cls\.weight'], exclude=r'backbone\.0\.')
    assert changed == {
        **EVERY_KIND,
        'pos_embed': (1, False),
        'fc_cls.weight': (1, False),
        'backbone.0.weight': EXCLUDED,
    }


@pytest.mark.parametrize(
    ('qkv', 'own', 'torchs'), [('whole', 1, 1), ('projection', 3, 3), ('head', 6, 12)]
)
def test_fused_projections(qkv: str, own: int, torchs: int) -> None:
    changed = found(Net(), qkv=qkv)
    assert changed == {
        **EVERY_KIND,
        'attention.qkv.weight': (own, False),
        'torch_attention.in_proj_weight': (torchs, False),
    }


def test_deformable_convolutions() -> None:
    pytest.importorskip('mmcv._ext', reason='mmcv has them in its compiled ops')
    from mmcv.ops import DeformConv2dPack, ModulatedDeformConv2dPack

    model = nn.Sequential(
        DeformConv2dPack(4, 8, 3, padding=1, groups=2), ModulatedDeformConv2dPack(8, 4, 3)
    )
    assert found(model) == {
        '0.weight': (2, False),
        '0.conv_offset.weight': OFFSET,
        '1.weight': (1, False),
        '1.conv_offset.weight': OFFSET,
    }


def test_a_weight_shared_with_an_embedding_is_not_muons() -> None:
    model = nn.Module()
    model.query = nn.Embedding(5, 8)
    model.project = nn.Linear(8, 5, bias=False)
    model.project.weight = model.query.weight
    assert found(model) == {'query.weight': TABLE}
    reverse = nn.Module()
    reverse.project, reverse.query = model.project, model.query
    assert found(reverse) == {'project.weight': TABLE}


@pytest.mark.parametrize(
    ('options', 'sentence'),
    [
        (dict(include=['nothing']), r"muon.include is 'nothing'; allowed is what a parameter name"),
        (dict(exclude='nothing'), r"muon.exclude is 'nothing'; allowed is what a parameter name"),
        (
            dict(include='up', exclude='up'),
            r"^'up.weight' matches both optim_wrapper.paramwise_cfg",
        ),
        (dict(include='gamma'), r"^'gamma' matches .*include and has 1 dimensions; Muon takes two"),
        (dict(qkv='heads'), r"qkv is 'heads'; allowed is 'whole' or 'projection' or 'head'"),
    ],
)
def test_bad_options_are_one_sentence(options: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        split_parameters(Net(), **options)


def test_a_cut_that_fits_no_layer_is_refused() -> None:
    with pytest.raises(ValueError, match=r"qkv is 'head'; .*: this model has no fused projection"):
        split_parameters(nn.Linear(3, 4), qkv='head')
    lonely = nn.Module()
    lonely.qkv = nn.Linear(8, 24)
    with pytest.raises(ValueError, match=r"qkv is 'head'.*: 'qkv.weight' has no num_heads"):
        split_parameters(lonely, qkv='head')
    lonely.num_heads = 5
    with pytest.raises(
        ValueError, match=r"cuts 'qkv.weight' into 15 parts, and its 24 rows cannot"
    ):
        split_parameters(lonely, qkv='head')


def _wrapper(model: nn.Module, **paramwise: Any) -> Any:
    config = dict(
        type='OptimWrapper',
        constructor='MuonOptimWrapperConstructor',
        optimizer=MUON,
        paramwise_cfg=paramwise,
    )
    return build_optim_wrapper(model, copy.deepcopy(config))


def _rates(model: nn.Module, wrapper: Any) -> dict[str, tuple[float, float, bool]]:
    """Rate, decay and rule of every parameter of the optimizer, by name."""
    names = {id(p): name for name, p in model.named_parameters()}
    return {
        names[id(p)]: (group['lr'], group['weight_decay'], group['use_muon'])
        for group in wrapper.optimizer.param_groups
        for p in group['params']
    }


def test_rates_and_decays_are_those_of_the_config_times_the_ratios() -> None:
    rates = _rates(
        model := Net(),
        _wrapper(
            model,
            norm_decay_mult=0.0,
            custom_keys={'attention.qkv': dict(lr_mult=0.1), 'query': dict(lr_mult=3.0)},
        ),
    )
    assert {*rates} == {name for name, _ in model.named_parameters()}
    assert rates['backbone.0.weight'] == (0.01, 0.1, True)
    assert rates['backbone.1.weight'] == (0.005, 0.0, False)
    assert rates['attention.qkv.weight'] == pytest.approx((0.001, 0.1, True))
    assert rates['attention.qkv.bias'] == pytest.approx((0.0005, 0.1, False))
    assert rates['query.weight'] == pytest.approx((0.015, 0.1, False))
    assert rates['fc_cls.weight'] == (0.005, 0.1, False)


def test_layer_decay_of_mmdetections_constructor() -> None:
    pytest.importorskip('mmcv._ext')
    decay = dict(decay_rate=0.8, decay_type='layer_wise', num_layers=6)
    model = build_detector(convnext_layout())
    reference = build_optim_wrapper(
        model,
        dict(
            optimizer=dict(type='AdamW', lr=0.01, weight_decay=0.1),
            constructor='mmdet.LearningRateDecayOptimizerConstructor',
            paramwise_cfg=dict(decay),
        ),
    )
    constructor = dict(constructor='mmdet.LearningRateDecayOptimizerConstructor')
    rates = _rates(model, _wrapper(model, **decay, muon=constructor))
    names = {id(p): name for name, p in model.named_parameters()}
    split = split_parameters(model)
    seen = set()
    for group in reference.optimizer.param_groups:
        for p in group['params']:
            matrix = id(p) in split.layouts
            expected = group['lr'] * (1.0 if matrix else 0.5), group['weight_decay'], matrix
            assert rates[names[id(p)]] == pytest.approx(expected)
            seen.add(round(group['lr'], 12))
    assert len(seen) == 6


@pytest.mark.parametrize(
    ('model', 'batch', 'paramwise'),
    [
        (lambda: resnet(frozen_stages=2), detection_batch, dict()),
        (lambda: resnet(frozen_stages=1), detection_batch, dict(norm_decay_mult=0.0)),
        (swin, detection_batch, dict(muon=dict(qkv='head'))),
        (rtmdet, detection_batch, dict(bypass_duplicate=True)),
        (beit, segmentation_batch, dict(muon=dict(qkv='projection'))),
    ],
    ids=['frozen', 'frozen, paramwise', 'Swin by heads', 'shared layers', 'BEiT'],
)
def test_real_models_train_all_that_is_not_frozen(model: Any, batch: Any, paramwise: Any) -> None:
    pytest.importorskip('mmcv._ext')
    if batch is segmentation_batch:
        pytest.importorskip('mmseg.models')
    net = build_detector(model())
    wrapper = _wrapper(net, **paramwise)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    pulled: set[int] = set()
    wrapper.optimizer.register_step_pre_hook(
        lambda *_: pulled.update(
            id(p) for p in net.parameters() if p.grad is not None and p.grad.any()
        )
    )
    net.train_step(batch((0, 0)), wrapper)
    assert len(pulled) > 20
    for name, p in net.named_parameters():
        moved = not torch.equal(p, before[name])
        assert p.isfinite().all() and moved >= (id(p) in pulled) and moved <= p.requires_grad, name


def _log(model: nn.Module, caplog: Any, **muon: Any) -> list[logging.LogRecord]:
    logger = MMLogger.get_instance('split')
    logger.addHandler(caplog.handler)
    caplog.set_level(logging.INFO)
    _wrapper(model, muon=muon)
    return [record for record in caplog.records if record.getMessage().startswith('Muon: ')]


def test_the_report(caplog: Any) -> None:
    model = Net()
    model.backbone[0].requires_grad_(False)
    (record,) = _log(model, caplog)
    matrices = [
        name
        for name, what in EVERY_KIND.items()
        if isinstance(what, tuple) and name != 'backbone.0.weight'
    ]
    sizes = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
    muon = sum(sizes[name] for name in matrices)
    count = sum(EVERY_KIND[name][0] for name in matrices)
    lines = record.getMessage().split('\n')
    assert lines[0] == (
        f'Muon: {len(matrices)} tensors, {muon:,} parameters in {count} matrices; '
        f'AdamW: {len(sizes) - len(matrices)} tensors, {sum(sizes.values()) - muon:,} parameters'
    )
    assert f'  AdamW, {PREDICTION}, 3 tensors: fc_cls.weight, reg_branches.0.2.weight, reg_br' in (
        record.getMessage()
    )
    assert record.levelno == logging.INFO


def test_a_model_without_known_prediction_layers_is_warned_of_once(caplog: Any) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    records = _log(model, caplog)
    warned = [r for r in records if r.levelno == logging.WARNING]
    assert len(warned) == 1 and 'name them in optim_wrapper.paramwise_cfg.muon.exclude' in (
        warned[0].getMessage()
    )
    caplog.clear()
    assert [r.levelno for r in _log(model, caplog, exclude=['^1'])] == [logging.INFO]


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"paramwise_cfg.muon has the unknown key 'excludes'; know"
    ):
        _wrapper(Net(), muon=dict(excludes=[]))


def test_another_optimizer_is_refused() -> None:
    config = dict(constructor='MuonOptimWrapperConstructor', optimizer=dict(type='AdamW', lr=0.1))
    with pytest.raises(ValueError, match=r"optimizer.type is 'AdamW'; allowed with constructor="):
        build_optim_wrapper(Net(), config)


def test_a_sharded_model_is_refused() -> None:
    class FullyShardedDataParallel(nn.Module):
        """Stands for torch's and its subclasses, which are known by this name."""

    class MMFullyShardedDataParallel(FullyShardedDataParallel):
        pass

    with pytest.raises(ValueError, match='Parallel, which leaves a rank no whole matrix; use'):
        _wrapper(MMFullyShardedDataParallel())


def test_parameters_in_shards_are_refused() -> None:
    model = Net()
    model.fc_cls.weight.placements = ()
    with pytest.raises(ValueError, match='was given DTensor parameters, of which a rank holds'):
        _wrapper(model)
