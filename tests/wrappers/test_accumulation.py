"""Micro-batches are ranks: one process with k of them equals k processes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import build_optim_wrapper
from networks import ReplayNet, detection_batch, tiny_retinanet
from ranks import run_ranks

import agvm_mm  # noqa: F401
from agvm_mm.parts import AGVMPart

pytest.importorskip('mmcv._ext', reason='mmdet needs the compiled ops of mmcv')

tiny_retinanet()  # imported and built before ranks are forked


def _config(estimator: str, counts: int, **agvm: Any) -> dict[str, Any]:
    return dict(
        type='AGVMOptimWrapper',
        optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=1e-4),
        accumulative_counts=counts,
        agvm=dict(dict(interval=1, momentum=0.9, estimator=estimator), **agvm),
    )


def _detector(dtype: torch.dtype):
    model = tiny_retinanet()
    if dtype == torch.float64:
        model.double()
        convert = model.data_preprocessor.forward

        def forward(data: dict[str, Any], training: bool = False) -> dict[str, Any]:
            data = convert(data, training)
            return dict(data, inputs=data['inputs'].double())

        model.data_preprocessor.forward = forward
    return model


def _train(
    rank: int, ranks: int, estimator: str, counts: int, updates: int, dtype: torch.dtype
) -> tuple[torch.Tensor, dict[str, Any]]:
    """Sample gradient j of an update comes from data (update, j), wherever it is computed."""
    model = _detector(dtype)
    if ranks > 1:
        model = MMDistributedDataParallel(model, broadcast_buffers=False)
    wrapper = build_optim_wrapper(model, _config(estimator, counts))
    wrapper.initialize_count_status(model, 0, updates * counts)
    for update in range(updates):
        for micro in range(counts):
            model.train_step(detection_batch((update, rank * counts + micro), count=1), wrapper)
    weights = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
    return weights, wrapper.part(AGVMPart).state_dict()


def _scales(state: dict[str, Any]) -> torch.Tensor:
    return torch.tensor([m['scale'] for m in state['modules'].values()], dtype=torch.float64)


@pytest.mark.parametrize('estimator', ['all_pairs', 'half_split'])
@pytest.mark.parametrize(
    ('dtype', 'tolerance'), [(torch.float32, 1e-6), (torch.float64, 1e-12)], ids=['f32', 'f64']
)
def test_one_process_with_eight_micro_batches_equals_eight_processes(estimator, dtype, tolerance):
    """A real detector with real losses, and 4 ranks x 2 micro-batches between the two."""
    runs = [
        run_ranks(_train, ranks, ranks, estimator, 8 // ranks, 3, dtype)[0] for ranks in (1, 4, 8)
    ]
    (weights, state), *others = runs
    assert _scales(state).max() > 1.05
    for other_weights, other_state in others:
        difference = (other_weights - weights).norm() / weights.norm()
        assert difference <= tolerance, float(difference)
        relative = (_scales(other_state) / _scales(state) - 1).abs().max()
        assert relative <= tolerance, float(relative)
        assert other_state['images'] == state['images'] == 8


def _replay(
    rank: int, counts: int, iterations: int, start: int = 0, estimator: str = 'all_pairs'
) -> list[tuple]:
    """State after every iteration, on prescribed gradients."""
    model = ReplayNet(dict(backbone=20, neck=20), torch.zeros(40, dtype=torch.float64))
    wrapper = build_optim_wrapper(model, _config(estimator, counts))
    wrapper.initialize_count_status(model, start, iterations)
    history = []
    for step in range(start, iterations):
        generator = torch.Generator().manual_seed(step)
        gradient = 0.5 + torch.randn(40, generator=generator, dtype=torch.float64)
        model.train_step(dict(inputs=[gradient]), wrapper)
        state = wrapper.part(AGVMPart).state_dict()
        history.append((wrapper.updates, state['modules']['neck']['estimates'], _scales(state)))
    return history


@pytest.mark.parametrize('estimator', ['all_pairs', 'half_split'])
def test_the_remainder_of_a_run_is_an_update_of_its_own_size(estimator):
    """8 iterations at 3 micro-batches an update: updates of 3, 3 and 2."""
    history = _replay(0, 3, 8, estimator=estimator)
    assert [update for update, _, _ in history] == [0, 0, 1, 1, 1, 2, 2, 3]
    assert [int(estimates) for _, estimates, _ in history] == [0, 0, 1, 1, 1, 2, 2, 3]


def test_the_estimate_of_a_remainder_is_right():
    gradients = torch.stack(
        [
            0.5 + torch.randn(40, generator=torch.Generator().manual_seed(s), dtype=torch.float64)
            for s in range(5)
        ]
    )
    model = ReplayNet(dict(backbone=20, neck=20), torch.zeros(40, dtype=torch.float64))
    wrapper = build_optim_wrapper(model, _config('all_pairs', 3, momentum=0.0))
    wrapper.initialize_count_status(model, 0, 5)
    for gradient in gradients:
        model.train_step(dict(inputs=[gradient]), wrapper)
    last = gradients[3:, 20:]
    a, b = last.square().sum(1).mean(), last.mean(0).square().sum()
    entry = wrapper.part(AGVMPart).state_dict()['modules']['neck']
    assert entry['numerator'] / entry['denominator'] == pytest.approx(float(2 * (a - b) / a))


def test_a_remainder_of_one_gives_no_estimate():
    history = _replay(0, 3, 7)
    assert [int(estimates) for _, estimates, _ in history][-1] == 2
    assert history[-1][0] == 3


def test_resuming_in_the_middle_of_an_update_skips_its_estimate():
    """MMEngine loses the gradients of the first micro-batches and says so; so do we."""
    history = _replay(0, 3, 9, start=4)
    assert [int(estimates) for _, estimates, _ in history] == [0, 0, 0, 0, 1]


def _unused_on_one_rank(rank: int) -> tuple[dict[str, Any], list[bool]]:
    class Sometimes(ReplayNet):
        """The neck is used on rank 0 alone, the head nowhere."""

        def forward(self, inputs, data_samples=None, mode='tensor'):
            losses = super().forward(inputs, data_samples, mode)
            losses.pop('loss_head')
            if rank != 0:
                losses.pop('loss_neck')
            return losses

    sizes = dict(backbone=8, neck=8, head=8)
    model = MMDistributedDataParallel(
        Sometimes(sizes, torch.ones(24, dtype=torch.float64)), find_unused_parameters=True
    )
    wrapper = build_optim_wrapper(model, _config('all_pairs', 1, momentum=0.0))
    wrapper.initialize_count_status(model, 0, 10)
    for step in range(2):
        generator = torch.Generator().manual_seed(10 * step + rank)
        gradient = 0.5 + torch.randn(24, generator=generator, dtype=torch.float64)
        model.train_step(dict(inputs=[gradient]), wrapper)
    return wrapper.part(AGVMPart).state_dict(), gradient


def test_a_module_used_on_some_ranks_counts_zero_on_the_others():
    (state, gradient), (other, _) = run_ranks(_unused_on_one_rank, 2)
    assert state == other
    local = gradient[8:16]
    a, b = local.square().sum() / 2, (local / 2).square().sum()
    neck = state['modules']['neck']
    assert neck['numerator'] / neck['denominator'] == pytest.approx(float(2 * (a - b) / a))
    assert state['modules']['head']['estimates'] == 0
    assert state['modules']['head']['scale'] == 1.0
