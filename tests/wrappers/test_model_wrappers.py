"""What else takes part in the backward pass: communication hooks, checkpointing, copies."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributed as dist
from constructor_models import resnet
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import build_optim_wrapper
from networks import build_detector, detection_batch, tiny_retinanet
from ranks import run_ranks
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks, powerSGD_hook

import agvm_mm  # noqa: F401

pytest.importorskip('mmcv._ext', reason='mmdet needs the compiled ops of mmcv')

tiny_retinanet()  # imported and built before ranks are forked

SGD = dict(type='SGD', lr=0.02, momentum=0.9)
ESTIMATORS = pytest.mark.parametrize('estimator', ['all_pairs', 'half_split'])


def _fp16(model: Any) -> None:
    model.register_comm_hook(None, default_hooks.fp16_compress_hook)


def _own(state, bucket):
    """Torch's hook under another name: by its own DDP takes it with NCCL alone."""
    return default_hooks.bf16_compress_hook(state, bucket)


def _bf16(model: Any) -> None:
    try:
        dist.all_reduce(torch.zeros(1, dtype=torch.bfloat16))
    except RuntimeError:
        pytest.skip('gloo of this torch has no bfloat16')
    model.register_comm_hook(None, _own)


def _power_sgd(model: Any) -> None:
    state = powerSGD_hook.PowerSGDState(None, start_powerSGD_iter=2, min_compression_rate=1)
    model.register_comm_hook(state, powerSGD_hook.powerSGD_hook)


HOOKS = {'fp16': _fp16, 'bf16': _bf16, 'PowerSGD': _power_sgd, 'none': lambda model: None}


def _wrapper(model: nn.Module, agvm: dict[str, Any] | None, counts: int = 1) -> Any:
    config = dict(type='AGVMOptimWrapper', optimizer=SGD, agvm=agvm, accumulative_counts=counts)
    return build_optim_wrapper(model, config)


def _with_hook(
    rank: int, hook: str, agvm: dict[str, Any] | None, late: bool, steps: int = 5
) -> tuple[list[list[Tensor]], dict[str, Any] | None]:
    """The gradients that the optimizer saw at every step, and AGVM's state."""
    model = MMDistributedDataParallel(tiny_retinanet(), broadcast_buffers=False)
    wrapper = _wrapper(model, agvm)
    if not late:
        HOOKS[hook](model)
    wrapper.initialize_count_status(model, 0, steps)
    if late:
        HOOKS[hook](model)
    seen: list[list[Tensor]] = []
    wrapper.optimizer.register_step_pre_hook(
        lambda *_: seen.append([p.grad.clone() for p in model.parameters()])
    )
    for step in range(steps):
        model.train_step(detection_batch((rank, step), count=1), wrapper)
    return seen, wrapper.state_dict().get('agvm')


def _equal(first: list[list[Tensor]], second: list[list[Tensor]]) -> bool:
    return all(torch.equal(a, b) for x, y in zip(first, second) for a, b in zip(x, y))


@pytest.mark.parametrize('hook', ['fp16', 'bf16', 'PowerSGD'])
def test_a_communication_hook_gives_the_optimizer_what_it_gives_without_agvm(hook):
    plain = run_ranks(_with_hook, 2, hook, None, False)
    uncompressed, _ = run_ranks(_with_hook, 2, 'none', None, False)[0]
    assert not _equal(plain[0][0], uncompressed), 'the hook must have done something'
    states = []
    for late in (False, True):
        for estimator in ('all_pairs', 'half_split'):
            agvm = dict(interval=1, momentum=0.5, apply=False, estimator=estimator)
            measured = run_ranks(_with_hook, 2, hook, agvm, late)
            assert all(_equal(a, b) for (a, _), (b, _) in zip(plain, measured))
            assert measured[0][1] == measured[1][1]
            states.append(measured[0][1])
    assert states[:2] == states[2:], 'registering it before or after binding is the same'
    estimates = [module['estimates'] for state in states for module in state['modules'].values()]
    assert estimates == [5] * len(estimates)


def _first_moments(rank: int, hook: str) -> tuple[dict[str, Any], Tensor, Tensor]:
    """AGVM's state after one estimate; this rank's squared norms; those of the mean gradient."""
    local = tiny_retinanet()
    data = detection_batch((rank, 0), count=1)
    losses = local(**local.data_preprocessor(data, training=True), mode='loss')
    local.parse_losses(losses)[0].backward()
    model = MMDistributedDataParallel(tiny_retinanet(), broadcast_buffers=False)
    HOOKS[hook](model)
    wrapper = _wrapper(model, dict(interval=1, momentum=0.0))
    wrapper.initialize_count_status(model, 0, 1)
    mean: list[Tensor] = []
    wrapper.optimizer.register_step_pre_hook(lambda *_: mean.append(_squares(model.module)))
    model.train_step(detection_batch((rank, 0), count=1), wrapper)
    return wrapper.state_dict()['agvm']['modules'], _squares(local), mean[0]


def _squares(model: nn.Module) -> Tensor:
    return torch.stack(
        [
            sum(p.grad.double().square().sum() for p in getattr(model, name).parameters())
            for name in ('backbone', 'neck', 'bbox_head')
        ]
    )


@pytest.mark.parametrize('hook', ['fp16', 'bf16', 'none'])
def test_moments_are_those_of_the_local_gradients_and_of_the_compressed_mean(hook):
    (modules, first, b), (_, second, _) = run_ranks(_first_moments, 2, hook)
    a = (first + second) / 2
    scales = torch.tensor([m['unit'] for m in modules.values()], dtype=torch.float64)
    phi = [m['numerator'] / m['denominator'] for m in modules.values()]
    assert torch.allclose(scales, a, rtol=1e-6)  # the denominator at N = 2
    assert phi == pytest.approx((2 * (a - b) / a).tolist(), rel=1e-4)


def _train(
    rank: int, model: Any, agvm: dict[str, Any] | None, counts: int
) -> tuple[Tensor, dict[str, Any] | None]:
    model = MMDistributedDataParallel(model, broadcast_buffers=False)
    wrapper = _wrapper(model, agvm, counts)
    wrapper.initialize_count_status(model, 0, 3 * counts)
    for step in range(3 * counts):
        model.train_step(detection_batch((rank, step), count=1), wrapper)
    weights = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
    return weights, wrapper.state_dict().get('agvm')


def _scales(state: dict[str, Any]) -> list[float]:
    return [module['scale'] for module in state['modules'].values()]


@pytest.mark.parametrize('counts', [1, 2])
@ESTIMATORS
def test_activation_checkpointing_gives_the_same_scales(estimator, counts):
    """To rounding: without AGVM, too, it adds up the gradients of a block in another order."""
    model, saving = build_detector(resnet()), build_detector(resnet(with_cp=True))
    assert all(block.with_cp for block in saving.backbone.layer1)
    agvm = dict(interval=1, momentum=0.5, estimator=estimator)
    usual = run_ranks(_train, 2, model, agvm, counts)[0]
    first, second = run_ranks(_train, 2, saving, agvm, counts)
    assert _scales(first[1]) == pytest.approx(_scales(usual[1]), rel=1e-4)
    assert first[1] == second[1] and max(_scales(first[1])) > 1.02
    measured = run_ranks(_train, 2, saving, dict(agvm, apply=False), counts)[0]
    assert torch.equal(measured[0], run_ranks(_train, 2, saving, None, counts)[0][0])


def _bound() -> tuple[nn.Module, Any]:
    model = tiny_retinanet()
    wrapper = _wrapper(model, dict(interval=1), counts=2)
    wrapper.initialize_count_status(model, 0, 4)
    for step in range(2):
        model.train_step(detection_batch((0, step), count=1), wrapper)
    return model, wrapper


@pytest.mark.parametrize('clone', [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_of_the_model_does_not_take_the_run_along(clone: Callable[[Any], Any]):
    model, wrapper = _bound()
    bare = len(pickle.dumps(tiny_retinanet()))
    assert len(pickle.dumps(model)) < 1.02 * bare, 'the optimizer state would double it'
    twin = clone(model)
    twin.data_preprocessor(detection_batch((1, 0), count=1), training=True)
    model.train_step(detection_batch((0, 2), count=1), wrapper)
    model.train_step(detection_batch((0, 3), count=1), wrapper)
    state = wrapper.state_dict()['agvm']
    assert state['images'] == 2, 'images of the copy must not be counted'
    assert not any(p._backward_hooks or p._post_accumulate_grad_hooks for p in twin.parameters())


def test_a_copy_can_be_trained_by_a_wrapper_of_its_own():
    model, wrapper = _bound()
    twin = copy.deepcopy(model)
    second = _wrapper(twin, dict(interval=1), counts=2)
    second.initialize_count_status(twin, 0, 4)
    for step in range(2):
        twin.train_step(detection_batch((0, step), count=1), second)
    assert second.updates == 1 and wrapper.updates == 1
    assert second.state_dict()['agvm']['images'] == 2


def _children(rank: int) -> list[Any]:
    """Two optimizers, each with a data-parallel child of its own, as generative models have."""
    torch.manual_seed(0)
    parts = [nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)) for _ in range(2)]
    states = []
    for alone in (True, False):
        children = [MMDistributedDataParallel(copy.deepcopy(part)) for part in parts]
        wrappers = [
            _wrapper(child, dict(interval=1, anchor='0', momentum=0.5)) for child in children
        ]
        for step in range(3):
            data = torch.randn(4, 4, generator=torch.Generator().manual_seed(10 * step + rank))
            for child, wrapper in list(zip(children, wrappers))[: 1 if alone else 2]:
                with wrapper.optim_context(child):
                    loss = child(data).square().mean()
                wrapper.update_params(loss)
        states.append(wrappers[0].state_dict()['agvm'])
    return states


def test_optimizers_that_each_have_a_data_parallel_child_of_their_own_do_not_meet():
    (alone, together), other = run_ranks(_children, 2)
    assert alone == together == other[1]
    assert alone['modules']['2']['estimates'] == 3
