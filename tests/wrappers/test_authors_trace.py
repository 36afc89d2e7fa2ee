"""half_split with average='scale' against the authors' algorithm, step by step.

Two oracles: the algorithm written down in numpy here (any number of ranks), and recordings of
the authors' unmodified hook on 2, 4 and 8 ranks: gradients, weights and scales of every iteration.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import ReplayNet
from ranks import run_ranks

from agvm_mm.parts import AGVMPart

RECORDINGS = Path(__file__).with_name('authors_trace')


def _recipe(interval: int = 2, start: int = 4, alpha: float = 0.9) -> dict[str, Any]:
    return dict(
        lr=0.1, momentum=0.9, weight_decay=1e-4, interval=interval, start=start, alpha=alpha
    )


def _train(rank: int, trace: dict[str, Any], recipe: dict[str, Any]) -> tuple[Any, Any]:
    """Weights and scales after every iteration, through the public config."""
    from mmengine.model import MMDistributedDataParallel
    from mmengine.optim import build_optim_wrapper

    import agvm_mm  # noqa: F401

    model = MMDistributedDataParallel(ReplayNet(trace['sizes'], torch.from_numpy(trace['initial'])))
    wrapper = build_optim_wrapper(
        model,
        dict(
            type='AGVMOptimWrapper',
            optimizer=dict(
                type='SGD',
                lr=recipe['lr'],
                momentum=recipe['momentum'],
                weight_decay=recipe['weight_decay'],
            ),
            agvm=dict(
                estimator='half_split',
                average='scale',
                interval=recipe['interval'],
                begin=recipe['start'],
                momentum=recipe['alpha'],
                clamp=(0.5, 10.0),
            ),
        ),
    )
    gradients = torch.from_numpy(trace['gradients'])
    wrapper.initialize_count_status(model, 0, len(gradients))
    weights, scales = [], []
    for gradient in gradients:
        model.train_step(dict(inputs=[gradient[rank]]), wrapper)
        weights.append(model.module.flat().numpy())
        scales.append(wrapper.part(AGVMPart).state.scales.numpy())
    return np.stack(weights), np.stack(scales)


def _agree(trace: dict[str, Any], recipe: dict[str, Any], weights: Any, scales: Any) -> None:
    ranks = trace['gradients'].shape[1]
    assert np.ptp(scales[-1]) > 0.05, 'the trace must modulate something'
    for found_weights, found_scales in run_ranks(_train, ranks, trace, recipe):
        np.testing.assert_allclose(found_weights, weights, rtol=0, atol=1e-10)
        np.testing.assert_allclose(found_scales, scales, rtol=0, atol=1e-10)


@pytest.mark.parametrize('ranks', [2, 4, pytest.param(8, marks=pytest.mark.slow)])
def test_recorded_runs_of_the_authors_code(ranks):
    file = np.load(RECORDINGS / f'w{ranks}.npz')
    trace = dict(
        sizes=dict(zip(file['module_names'].tolist(), file['module_sizes'].tolist())),
        initial=file['initial_weights'],
        gradients=file['gradients'],
    )
    recipe = dict(
        lr=float(file['lr']),
        momentum=float(file['sgd_momentum']),
        weight_decay=float(file['weight_decay']),
        interval=int(file['interval']),
        start=int(file['start_iter']),
        alpha=float(file['ema_momentum']),
    )
    _agree(trace, recipe, file['weights'], file['factors'])


def _oracle(trace: dict[str, Any], recipe: dict[str, Any]) -> tuple[Any, Any]:
    """The algorithm of reference 3 in numpy, each half the mean over its own ranks."""
    splits = np.cumsum(list(trace['sizes'].values()))[:-1]
    weights, buffer = trace['initial'].copy(), np.zeros_like(trace['initial'])
    scales = np.ones(len(trace['sizes']))
    history = []
    for step, gradients in enumerate(trace['gradients']):
        if step >= recipe['start'] and step % recipe['interval'] == 0:
            half = len(gradients) // 2
            first, second = gradients[:half].mean(0), gradients[half:].mean(0)
            phi = np.array(
                [
                    1 - a @ b / np.sqrt((a @ a) * (b @ b))
                    for a, b in zip(np.split(first, splits), np.split(second, splits))
                ]
            )
            target = np.sqrt(np.clip((phi[0] + 1e-6) / (phi + 1e-6), 0.5, 10.0))
            scales = recipe['alpha'] * scales + (1 - recipe['alpha']) * target
        direction = gradients.mean(0) + recipe['weight_decay'] * weights
        buffer = direction if step == 0 else recipe['momentum'] * buffer + direction
        applied = scales if step >= recipe['start'] else np.ones_like(scales)
        weights = (
            weights - recipe['lr'] * np.repeat(applied, list(trace['sizes'].values())) * buffer
        )
        history.append((weights, scales))
    return np.stack([w for w, _ in history]), np.stack([f for _, f in history])


def _generated(ranks: int) -> dict[str, Any]:
    rng = np.random.default_rng(ranks)
    sizes = dict(backbone=40, neck=24, rpn_head=10, roi_head=30)
    spread = np.repeat([3.0, 1.0, 0.5, 0.3], list(sizes.values()))
    total = sum(sizes.values())
    gradients = rng.normal(size=total) + spread * rng.normal(size=(12, ranks, total))
    return dict(sizes=sizes, initial=rng.normal(size=total), gradients=gradients)


@pytest.mark.parametrize('ranks', [2, 3])
def test_the_written_down_algorithm_also_on_odd_ranks(ranks):
    trace, recipe = _generated(ranks), _recipe()
    _agree(trace, recipe, *_oracle(trace, recipe))
