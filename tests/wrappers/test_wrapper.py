"""The wrapper on a real detector, real ranks, different data on each."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.distributed as dist
from networks import ReplayNet, detection_batch, tiny_retinanet
from ranks import run_ranks
from torch import nn

from agvm_mm.parts import AGVMPart
from agvm_mm.wrappers import PartsMixin

pytest.importorskip('mmcv._ext', reason='mmdet needs the compiled ops of mmcv')

tiny_retinanet()  # imported and built before ranks are forked

SGD = dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=1e-4)
AGVM = dict(interval=2, begin=2, momentum=0.9)


def _wrapper(model: nn.Module, **config: Any):
    from mmengine.optim import build_optim_wrapper

    import agvm_mm  # noqa: F401

    return build_optim_wrapper(model, dict(dict(optimizer=SGD), **config))


def _distributed(model: nn.Module, **kwargs: Any):
    from mmengine.model import MMDistributedDataParallel

    return MMDistributedDataParallel(model, broadcast_buffers=False, **kwargs)


def _weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def _train(rank: int, config: dict[str, Any], steps: int, ddp: dict[str, Any]) -> dict[str, Any]:
    model = _distributed(tiny_retinanet(), **ddp)
    wrapper = _wrapper(model, **config)
    wrapper.initialize_count_status(model, 0, steps)
    for step in range(steps):
        model.train_step(detection_batch((rank, step)), wrapper)
    part = wrapper.part(AGVMPart) if isinstance(wrapper, PartsMixin) else None
    return dict(
        weights=_weights(model),
        groups=len(wrapper.optimizer.param_groups),
        lr=wrapper.optimizer.param_groups[0]['lr'],
        state=None if part is None else part.state_dict(),
    )


PLAIN = dict(type='OptimWrapper')
CLIPPED = dict(clip_grad=dict(max_norm=1.0))


@pytest.mark.parametrize('ranks', [2, 3])
def test_measuring_leaves_the_weights_bitwise_those_of_the_plain_wrapper(ranks):
    plain = run_ranks(_train, ranks, dict(PLAIN, **CLIPPED), 20, {})
    for estimator in ('all_pairs', 'half_split'):
        config = dict(
            type='AGVMOptimWrapper', agvm=dict(AGVM, apply=False, estimator=estimator), **CLIPPED
        )
        measured = run_ranks(_train, ranks, config, 20, {})
        for a, b in zip(plain, measured):
            assert torch.equal(a['weights'], b['weights'])
        scales = [m['scale'] for m in measured[0]['state']['modules'].values()]
        assert max(scales) > 1.02, 'something must have been measured'


def test_scales_are_the_same_on_all_ranks_and_change_the_weights():
    plain = run_ranks(_train, 2, PLAIN, 8, {})
    found = run_ranks(_train, 2, dict(type='AGVMOptimWrapper', agvm=AGVM), 8, {})
    assert found[0]['state'] == found[1]['state']
    assert torch.equal(found[0]['weights'], found[1]['weights'])
    assert not torch.equal(found[0]['weights'], plain[0]['weights'])
    assert found[0]['groups'] == 1 and found[0]['lr'] == SGD['lr']
    assert list(found[0]['state']['modules']) == ['backbone', 'neck', 'bbox_head']


@pytest.mark.parametrize(
    'ddp',
    [
        dict(find_unused_parameters=True),
        dict(gradient_as_bucket_view=True),
        dict(static_graph=True),
        dict(bucket_cap_mb=0.1),
    ],
    ids=lambda ddp: next(iter(ddp)),
)
def test_options_of_the_data_parallel_wrapper_change_nothing(ddp):
    config = dict(type='AGVMOptimWrapper', agvm=AGVM)
    usual = run_ranks(_train, 2, config, 6, {})
    optioned = run_ranks(_train, 2, config, 6, ddp)
    assert torch.equal(usual[0]['weights'], optioned[0]['weights'])
    assert usual[0]['state'] == optioned[0]['state']


def _gradients_before_step(rank: int, agvm: dict[str, Any] | None) -> list[torch.Tensor]:
    model = _distributed(tiny_retinanet())
    wrapper = _wrapper(model, type='AGVMOptimWrapper', agvm=agvm)
    wrapper.initialize_count_status(model, 0, 1)
    seen = []
    wrapper.optimizer.register_step_pre_hook(
        lambda *_: seen.extend(p.grad.clone() for p in model.parameters())
    )
    model.train_step(detection_batch((rank, 0)), wrapper)
    return seen


@pytest.mark.parametrize('estimator', ['all_pairs', 'half_split'])
def test_the_averaged_gradient_is_bitwise_that_of_ddp(estimator):
    plain = run_ranks(_gradients_before_step, 3, None)[0]
    measured = run_ranks(_gradients_before_step, 3, dict(interval=1, estimator=estimator))[0]
    assert len(plain) == len(measured) > 50
    assert all(torch.equal(a, b) for a, b in zip(plain, measured))


def _gradients_with_a_hook(rank: int, agvm: dict[str, Any] | None, hook: str) -> tuple[Any, Any]:
    from torch.distributed.algorithms.ddp_comm_hooks import default_hooks, powerSGD_hook

    model = _distributed(tiny_retinanet())
    if hook == 'powerSGD':
        state = powerSGD_hook.PowerSGDState(
            None, start_powerSGD_iter=2, orthogonalization_epsilon=1e-8
        )
        model.register_comm_hook(state, powerSGD_hook.powerSGD_hook)
    else:
        model.register_comm_hook(None, getattr(default_hooks, hook))
    wrapper = _wrapper(model, type='AGVMOptimWrapper', agvm=agvm, optimizer=dict(type='SGD', lr=0))
    wrapper.initialize_count_status(model, 0, 4)
    seen: list[torch.Tensor] = []
    wrapper.optimizer.register_step_pre_hook(
        lambda *_: seen.extend(p.grad.clone() for p in model.parameters())
    )
    torch.manual_seed(0)
    for step in range(4):
        model.train_step(detection_batch((rank, step)), wrapper)
    return seen, None if agvm is None else wrapper.part(AGVMPart).state_dict()


@pytest.mark.parametrize('hook', ['fp16_compress_hook', 'powerSGD'])
def test_a_users_own_communication_hook_is_left_alone(hook):
    (plain, _), _ = run_ranks(_gradients_with_a_hook, 2, None, hook)
    found = run_ranks(_gradients_with_a_hook, 2, dict(interval=1), hook)
    assert len(plain) == len(found[0][0]) > 200
    assert all(torch.equal(a, b) for a, b in zip(plain, found[0][0]))
    assert found[0][1] == found[1][1]
    assert found[0][1]['modules']['neck']['estimates'] == 4


def _train_with_a_bad_rank(rank: int, value: float, estimator: str) -> list[dict[str, Any]]:
    sizes = dict(backbone=8, neck=8)
    model = _distributed(ReplayNet(sizes, torch.zeros(16)))
    wrapper = _wrapper(model, type='AGVMOptimWrapper', agvm=dict(interval=1, estimator=estimator))
    wrapper.initialize_count_status(model, 0, 10)
    states = []
    for step in range(4):
        gradient = torch.randn(16, generator=torch.Generator().manual_seed(10 * step + rank)) + 1
        if step == 2 and rank == 1:
            gradient[3] = value
        model.train_step(dict(inputs=[gradient]), wrapper)
        states.append(wrapper.part(AGVMPart).state_dict())
    return states


@pytest.mark.parametrize('estimator', ['all_pairs', 'half_split'])
@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_a_non_finite_gradient_on_one_rank_changes_no_scale(value, estimator):
    first, second = run_ranks(_train_with_a_bad_rank, 2, value, estimator)
    assert first == second
    assert first[2]['modules'] == first[1]['modules'] and first[2]['skipped'] == 1
    assert first[1]['modules'] != first[0]['modules']


def _scalars(rank: int) -> dict[str, float]:
    from mmengine.logging import MessageHub

    model = _distributed(tiny_retinanet())
    wrapper = _wrapper(model, type='AGVMOptimWrapper', agvm=dict(interval=1))
    wrapper.initialize_count_status(model, 0, 3)
    for step in range(3):
        model.train_step(detection_batch((rank, step)), wrapper)
    hub = MessageHub.get_current_instance()
    return {k: v.current() for k, v in hub.log_scalars.items() if 'agvm' in k} | {
        'images': wrapper.part(AGVMPart).images
    }


def test_phi_noise_scale_and_scaled_rate_reach_the_message_hub():
    scalars = run_ranks(_scalars, 2)[0]
    for module in ('backbone', 'neck', 'bbox_head'):
        assert 0 < scalars[f'train/agvm/phi/{module}'] < 2
        scale = scalars[f'train/agvm/scale/{module}']
        assert scalars[f'train/agvm/{module}.lr'] == pytest.approx(SGD['lr'] * scale)
    assert scalars['train/agvm/scale/backbone'] == 1.0
    assert any(k.startswith('train/agvm/noise_scale/') for k in scalars)
    assert scalars['images'] == 4  # 2 ranks x 2 images


def _bind(agvm: Any, change=None, accumulative_counts: int = 2) -> None:
    model = tiny_retinanet()
    if change is not None:
        change(model)
    wrapper = _wrapper(
        model, type='AGVMOptimWrapper', agvm=agvm, accumulative_counts=accumulative_counts
    )
    wrapper.initialize_count_status(model, 0, 10)


@pytest.mark.parametrize(
    ('agvm', 'change', 'counts', 'sentence'),
    [
        (
            dict(anchor='bakbone'),
            None,
            2,
            r"agvm\.anchor is 'bakbone', which is not a module.*'backbone', 'neck', 'bbox_head'",
        ),
        (
            dict(),
            lambda m: m.backbone.requires_grad_(False),
            2,
            r"agvm\.anchor is 'backbone', which has no trainable parameter",
        ),
        (
            dict(anchor='x', modules={'a.x': ['backbone'], 'b.x': ['neck', 'bbox_head']}),
            None,
            2,
            r"agvm\.anchor is 'x', which is the end of several names; allowed is 'a.x', 'b.x'",
        ),
        (
            dict(modules=dict(backbone=['backbone'], rest=['neck', 'bbox_hed'])),
            None,
            2,
            r"'bbox_head\.\S+' is in no module",
        ),
        (
            dict(modules=dict(backbone=['backbone', 'stem'], rest=['neck', 'bbox_head'])),
            None,
            2,
            r"prefix 'stem', which matches no parameter",
        ),
        (
            dict(),
            None,
            1,
            r'AGVM measures the variance between sample gradients, and this run has one: 1 process '
            r'x optim_wrapper\.accumulative_counts=1; launch at least 2 .* total_batch_size to',
        ),
        (dict(precondition=True), None, 2, r'precondition is True, but SGD has no registered'),
    ],
)
def test_a_wrong_set_up_stops_at_the_start(agvm, change, counts, sentence):
    with pytest.raises(ValueError, match=sentence):
        _bind(agvm, change, counts)


def test_a_parameter_the_optimizer_does_not_hold_is_named():
    def add_after(model: nn.Module) -> None:
        model.extra_head = nn.Linear(2, 2)

    model = tiny_retinanet()
    wrapper = _wrapper(model, type='AGVMOptimWrapper', accumulative_counts=2)
    add_after(model)
    with pytest.raises(ValueError, match=r"'extra_head\.weight' is not in the optimizer SGD"):
        wrapper.initialize_count_status(model, 0, 10)


def test_stepping_without_having_seen_the_model_is_refused():
    model = nn.Linear(2, 2)
    wrapper = _wrapper(model, type='AGVMOptimWrapper', accumulative_counts=2)
    model(torch.ones(1, 2)).sum().backward()
    with pytest.raises(RuntimeError, match='has not seen the model: run the forward pass inside'):
        wrapper.step()


def test_agvm_none_is_the_plain_wrapper_with_a_clipping_window():
    model = ReplayNet(dict(backbone=4), torch.zeros(4))
    config = dict(max_norm=0.5, begin=1, end=2)
    wrapper = _wrapper(
        model,
        type='AGVMOptimWrapper',
        agvm=None,
        clip_grad=config,
        optimizer=dict(type='SGD', lr=1.0),
    )
    wrapper.initialize_count_status(model, 0, 3)
    moved = []
    for _ in range(3):
        before = model.flat()
        model.train_step(dict(inputs=[torch.tensor([2.0, 0, 0, 0])]), wrapper)
        moved.append((before - model.flat())[0].item())
    assert moved == pytest.approx([2.0, 0.5, 2.0], rel=1e-5)
    assert config == dict(max_norm=0.5, begin=1, end=2)
    assert 'agvm' not in wrapper.state_dict()


def test_ranks_really_have_different_data():
    a, b = detection_batch((0, 0)), detection_batch((1, 0))
    assert not torch.equal(a['inputs'][0], b['inputs'][0])
    assert not dist.is_initialized()
