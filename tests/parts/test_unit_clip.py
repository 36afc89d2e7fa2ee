"""``clip_grad=dict(type='agc')`` in the wrappers: order, exclusion, window, log, refusals."""

from __future__ import annotations

import copy
import itertools
import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from cpu_amp import on_cpu
from mmengine.logging import MessageHub, MMLogger
from mmengine.optim import build_optim_wrapper
from ranks import run_ranks
from torch import Tensor, nn

import agvm_mm
from agvm_mm import AGVMOptimWrapper
from agvm_mm.compat import has_compiled_ops
from agvm_mm.optimizers.prediction_layers import prediction_layers
from agvm_mm.parts import AGVMPart
from agvm_mm.parts.units import clip_units_, view_transposed_units, view_units

_COUNT = itertools.count()


class Net(nn.Module):
    """Backbone, a head with a classifier and an upsampling."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Conv2d(3, 8, 3)
        self.head = nn.ModuleDict(
            dict(upsample=nn.ConvTranspose2d(8, 6, 2, 2), conv_seg=nn.Conv2d(6, 4, 1))
        )

    def forward(self, inputs: Tensor) -> Tensor:
        features = self.head['upsample'](self.backbone(inputs).relu())
        return self.head['conv_seg'](features).square().mean()


def build(optimizer: str = 'SGD', agvm: Any = None, amp: bool = False, **clip: Any) -> Any:
    """A model and its wrapper with a log of its own."""
    torch.manual_seed(0)
    model = Net()
    hub = MessageHub.get_instance(f'adaptive_{next(_COUNT)}')
    kind = 'AGVMAmpOptimWrapper' if amp else 'AGVMOptimWrapper'
    config = dict(
        type=kind,
        optimizer=dict(type=optimizer, lr=0.1),
        clip_grad=dict(type='agc', **clip) if clip is not None else None,
        agvm=agvm,
    )
    with on_cpu(kind):
        wrapper = build_optim_wrapper(model, config)
    wrapper.message_hub = hub
    return model, wrapper


def update(model: nn.Module, wrapper: Any, step: int = 0, scale: float = 100.0) -> None:
    inputs = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(step))
    with wrapper.optim_context(model):
        loss = model(inputs) * scale
    wrapper.update_params(loss)


def by_hand(model: nn.Module, excluded: tuple[str, ...], scale: float = 100.0) -> dict[str, Tensor]:
    """Weights after one plain step along the clipped gradients."""
    model = copy.deepcopy(model)
    inputs = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    (model(inputs) * scale).backward()
    for name, p in model.named_parameters():
        if name in excluded:
            continue
        transposed = name == 'head.upsample.weight'
        view = view_transposed_units(p.shape) if transposed else view_units(p.shape)
        clip_units_([p.data], [p.grad], [view])
    return {name: p.detach().add(p.grad, alpha=-0.1) for name, p in model.named_parameters()}


@pytest.mark.parametrize(
    ('exclude', 'excluded'),
    [
        ('cls', ('head.conv_seg.weight',)),
        ('pred', ('head.conv_seg.weight',)),
        ('none', ()),
        ('upsample', ('head.upsample.weight', 'head.upsample.bias')),
        (['cls', 'backbone.b'], ('backbone.bias', 'head.conv_seg.weight')),
    ],
)
def test_clips_before_the_step_and_leaves_the_excluded_alone(
    exclude: Any, excluded: tuple[str, ...]
) -> None:
    model, wrapper = build(exclude=exclude)
    expected = by_hand(model, excluded)
    unclipped = by_hand(model, tuple(dict(model.named_parameters())))
    update(model, wrapper)
    for name, p in model.named_parameters():
        assert torch.equal(p, expected[name]), name
        assert (not torch.equal(p, unclipped[name])) == (name not in excluded), name


def test_the_same_with_a_loss_scale() -> None:
    model, wrapper = build()
    scaled, amp = build(amp=True)
    amp.loss_scaler = torch.amp.GradScaler('cpu', init_scale=2.0**16)
    amp.cast_dtype = torch.float32
    inputs = torch.randn(2, 3, 8, 8)
    for net, wrap in ((model, wrapper), (scaled, amp)):
        wrap.initialize_count_status(net, 0, 1)
        wrap.update_params(net(inputs) * 100)
    for a, b in zip(model.parameters(), scaled.parameters()):
        assert torch.equal(a, b)


def test_fraction_of_clipped_units_is_logged_by_module() -> None:
    model, wrapper = build(clip_factor=1e-9, exclude='none')
    update(model, wrapper)
    scalars = wrapper.message_hub.log_scalars
    assert scalars['train/agc/clipped/backbone'].current() == 1.0
    assert scalars['train/agc/clipped/head'].current() == 1.0
    model, wrapper = build(clip_factor=1e9)
    update(model, wrapper)
    assert wrapper.message_hub.log_scalars['train/agc/clipped/backbone'].current() == 0.0


def test_fractions_count_units() -> None:
    model, wrapper = build(exclude='head')
    nn.init.zeros_(model.backbone.bias)
    with torch.no_grad():  # two of eight filters too large to be met, and the bias as one unit
        model.backbone.weight[:2] *= 1e12
    wrapper.initialize_count_status(model, 0, 1)
    model.backbone.weight.grad = torch.ones_like(model.backbone.weight)
    model.backbone.bias.grad = torch.ones_like(model.backbone.bias)
    wrapper.step()
    found = wrapper.message_hub.log_scalars['train/agc/clipped/backbone'].current()
    assert found == pytest.approx(7 / 9)
    assert 'train/agc/clipped/head' not in wrapper.message_hub.log_scalars


@pytest.mark.filterwarnings('ignore:optimizer contains a parameter group with duplicate')
def test_a_parameter_that_a_group_holds_twice_is_clipped_once() -> None:
    """As of two networks that share a layer, whose parameters are given one after the other."""
    torch.manual_seed(0)
    layer = nn.Linear(4, 3)
    optimizer = torch.optim.SGD([layer.weight, layer.weight, layer.bias], lr=0.0)
    agvm_mm.attach(layer, optimizer, agvm=None, clip=dict(clip_factor=0.01, exclude='none'))
    (100 * layer(torch.ones(2, 4)).sum()).backward()
    optimizer.step()
    assert layer.weight.grad is not None
    for gradient, weight in zip(layer.weight.grad, layer.weight):
        torch.testing.assert_close(gradient.norm(), 0.01 * weight.norm())


def test_a_window_of_updates() -> None:
    model, wrapper = build(begin=1, end=2, clip_factor=1e-9, exclude='none')
    wrapper.initialize_count_status(model, 0, 3)
    moved = []
    for step in range(3):
        before = model.backbone.weight.detach().clone()
        update(model, wrapper, step)
        moved.append((model.backbone.weight - before).norm().item())
    assert moved[1] < 1e-6 < min(moved[0], moved[2])


def test_agvm_measures_the_gradient_before_it_is_clipped() -> None:
    found = []
    for clip_factor in (1e-9, 1e9):
        model, wrapper = build(
            agvm=dict(interval=1, momentum=0.0), clip_factor=clip_factor, exclude='none'
        )
        wrapper._accumulative_counts = 2
        wrapper.initialize_count_status(model, 0, 2)
        before = model.backbone.weight.detach().clone()
        for step in range(2):
            update(model, wrapper, step)
        found.append(wrapper.part(AGVMPart).state_dict()['modules'])
        assert ((model.backbone.weight - before).norm() > 1e-4) == (clip_factor > 1)
    assert found[0] == found[1]
    assert list(found[0]) == ['backbone', 'head']


class Messages(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.warnings: list[str] = []
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        if record.levelno == logging.WARNING:
            self.warnings.append(record.getMessage())


def test_the_start_of_the_log_names_what_is_not_clipped() -> None:
    messages = Messages()
    logger = MMLogger.get_current_instance()
    logger.addHandler(messages)
    try:
        model, wrapper = build(exclude='backbone.weight')
        update(model, wrapper)
    finally:
        logger.removeHandler(messages)
    [line] = [text for text in messages.lines if text.startswith('AGC: ')]
    assert line.endswith(': backbone.weight')


@pytest.mark.parametrize('optimizer', ['SGD', 'LAMBOptimizer', 'LARSOptimizer'])
def test_a_trust_ratio_is_warned_of(optimizer: str) -> None:
    if optimizer == 'LARSOptimizer':
        pytest.importorskip('pytorch_optimizer')
    messages = Messages()
    logger = MMLogger.get_current_instance()
    logger.addHandler(messages)
    try:
        model, wrapper = build(optimizer)
        update(model, wrapper)
    finally:
        logger.removeHandler(messages)
    warned = [text for text in messages.warnings if 'trust ratio' in text]
    assert len(warned) == (optimizer != 'SGD')


class TestPredictionLayers:
    def test_lists_and_small_networks_end_in_their_last_layer(self) -> None:
        head = nn.Module()
        head.cls_convs = nn.ModuleList([nn.Conv2d(1, 1, 1)])
        head.rtm_cls = nn.ModuleList([nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1)])
        head.reg_branches = nn.ModuleList(
            [nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1)) for _ in range(2)]
        )
        model = nn.Module()
        model.backbone = nn.ModuleDict(dict(conv_cls=nn.Linear(1, 1)))
        model.bbox_head = head
        classifiers = ['bbox_head.rtm_cls.0', 'bbox_head.rtm_cls.1']
        assert prediction_layers(model, regression=False) == classifiers
        assert prediction_layers(model, regression=True) == [
            *classifiers,
            'bbox_head.reg_branches.0.2',
            'bbox_head.reg_branches.1.2',
        ]

    def test_a_subclass_has_the_names_of_its_head(self) -> None:
        class GridHead(nn.Module):
            pass

        class Own(GridHead):
            pass

        model = nn.Module()
        model.grid_head = Own()
        model.grid_head.deconv2 = nn.ConvTranspose2d(4, 9, 2)
        assert prediction_layers(model, regression=False) == []
        assert prediction_layers(model, regression=True) == ['grid_head.deconv2']

    @pytest.mark.skipif(not has_compiled_ops(), reason='mmdet needs the ops of mmcv')
    @pytest.mark.parametrize('depthwise', [False, True], ids=['ssd', 'ssd-lite'])
    def test_ssd_predicts_with_what_others_call_hidden(self, depthwise: bool) -> None:
        from mmdet.models.dense_heads import SSDHead

        anchors = dict(
            type='mmdet.SSDAnchorGenerator',
            scale_major=False,
            input_size=300,
            strides=[8, 16, 32],
            ratios=([2], [2, 3], [2]),
            basesize_ratio_range=(0.15, 0.9),
        )
        model = nn.Module()
        model.bbox_head = SSDHead(
            num_classes=3,
            in_channels=(4, 8, 8),
            stacked_convs=1,
            feat_channels=6,
            use_depthwise=depthwise,
            norm_cfg=dict(type='BN'),
            act_cfg=dict(type='ReLU'),
            anchor_generator=anchors,
        )
        layers = dict(model.named_modules())
        classifiers = prediction_layers(model, regression=False)
        # 4, 6 and 4 boxes at a place: scores of 3 classes and the background, and 4 coordinates.
        assert [layers[name].out_channels for name in classifiers] == [4 * 4, 6 * 4, 4 * 4]
        assert all('cls_convs' in name for name in classifiers)
        both = prediction_layers(model, regression=True)
        assert [name for name in both if name in classifiers] == classifiers
        others = [name for name in both if name not in classifiers]
        assert [layers[name].out_channels for name in others] == [4 * 4, 6 * 4, 4 * 4]
        assert all('reg_convs' in name for name in others)


def _fsdp(model: nn.Module) -> nn.Module:
    from torch.distributed.fsdp import FullyShardedDataParallel

    return FullyShardedDataParallel(model, device_id=torch.device('cpu'))


def _fully_shard(model: nn.Module) -> nn.Module:
    try:
        from torch.distributed.fsdp import fully_shard
    except ImportError:
        pytest.skip('torch.distributed.fsdp has fully_shard since 2.6')
    from torch.distributed.device_mesh import init_device_mesh

    fully_shard(model, mesh=init_device_mesh('cpu', (2,)))
    return model


def _bind(rank: int, shard: Callable[[nn.Module], nn.Module]) -> str:
    """What clipping without AGVM says at the sight of a model in shards."""
    model = shard(Net())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wrapper = AGVMOptimWrapper(optimizer, agvm=None, clip_grad=dict(type='agc'))
    with pytest.raises(ValueError) as caught:
        wrapper.initialize_count_status(model, 0, 1)
    return str(caught.value)


class TestRefusals:
    @pytest.mark.parametrize(
        ('options', 'sentence'),
        [
            (dict(clip_factor=0), r'clip_grad\.clip_factor is 0; allowed is a positive number'),
            (dict(exclude=['cls', 3]), r"clip_grad\.exclude is \['cls', 3\]; allowed is"),
            (dict(eps='x'), r"clip_grad\.eps is 'x'; allowed is a positive number"),
            (dict(exclude='('), r"clip_grad\.exclude is '\('; allowed is 'cls', 'pred', 'none'"),
            (dict(gain_mode='row'), r"gain_mode is 'row'; allowed is 'vector' or 'element'"),
            (dict(max_norm=1.0), "clip_grad has the unknown key 'max_norm'; known are clip_factor"),
            (dict(begin=-1), r'clip_grad\.begin is -1; allowed'),
        ],
    )
    def test_options(self, options: dict[str, Any], sentence: str) -> None:
        with pytest.raises(ValueError, match=sentence):
            build(**options)

    def test_a_pattern_that_matches_nothing(self) -> None:
        model, wrapper = build(exclude=['head', 'haed'])
        with pytest.raises(
            ValueError, match=r"exclude is 'haed'; allowed is what a parameter name"
        ):
            update(model, wrapper)

    def test_a_model_that_was_not_seen(self) -> None:
        model, wrapper = build()
        model(torch.randn(2, 3, 8, 8)).backward()
        with pytest.raises(RuntimeError, match='has not seen the model: run the forward pass'):
            wrapper.step()

    @pytest.mark.parametrize(
        ('shard', 'refusal'),
        [
            (
                _fsdp,
                'the model is wrapped in FullyShardedDataParallel, which leaves every rank a shard',
            ),
            (_fully_shard, "the parameter 'backbone.weight' is a DTensor"),
        ],
    )
    def test_shards(self, shard: Callable[[nn.Module], nn.Module], refusal: str) -> None:
        for found in run_ranks(_bind, 2, shard):
            assert refusal in found and 'optim_wrapper.clip_grad=None' in found
