"""The exponential warm-up against its closed form, alone and chained, built as a Runner does."""

from __future__ import annotations

import copy

import pytest
import torch
from mmengine.optim import MultiStepLR, OptimWrapper
from mmengine.registry import PARAM_SCHEDULERS
from torch import nn

from agvm_mm.schedulers import ExponentialWarmupLR

LR = 0.16 * 2**0.5
WARMUP = 920
RATIO = 0.001


def make_optimizer(lr: float = LR) -> torch.optim.Optimizer:
    model = nn.Linear(2, 2)
    return torch.optim.SGD([{'params': [model.weight]}, {'params': [model.bias], 'lr': 2 * lr}], lr)


def run(optimizer: torch.optim.Optimizer, schedulers: list, steps: int) -> list[list[float]]:
    """Learning rates of every group, read before each of `steps` updates."""
    rates = []
    for _ in range(steps):
        rates.append([group['lr'] for group in optimizer.param_groups])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return rates


def closed_form(base: float, step: int, warmup: int = WARMUP, ratio: float = RATIO) -> float:
    """mmcv 1.x: k = ratio ** (1 - it / warmup_iters); lr = base * k, until it = warmup_iters."""
    return base * ratio ** (1 - step / warmup) if step < warmup else base


def test_equals_the_closed_form_of_mmcv_over_the_whole_warm_up() -> None:
    optimizer = make_optimizer()
    scheduler = ExponentialWarmupLR(optimizer, ratio=RATIO, end=WARMUP, by_epoch=False)
    rates = run(optimizer, [scheduler], WARMUP + 50)
    assert rates[0][0] == pytest.approx(0.001 * LR, rel=1e-12)
    for step, (first, second) in enumerate(rates):
        assert first == pytest.approx(closed_form(LR, step), rel=1e-9)
        assert second == pytest.approx(closed_form(2 * LR, step), rel=1e-9)


def test_base_rate_is_exact_after_the_warm_up_and_stays() -> None:
    optimizer = make_optimizer()
    scheduler = ExponentialWarmupLR(optimizer, ratio=RATIO, end=WARMUP, by_epoch=False)
    rates = run(optimizer, [scheduler], WARMUP + 50)
    assert rates[WARMUP - 1][0] < 0.999 * LR
    for first, second in rates[WARMUP:]:
        assert first == pytest.approx(LR, rel=1e-12)
        assert second == pytest.approx(2 * LR, rel=1e-12)


@pytest.mark.parametrize('milestone', [400, 920, 1000])
def test_chains_with_multi_step(milestone: int) -> None:
    optimizer = make_optimizer()
    schedulers = [
        ExponentialWarmupLR(optimizer, ratio=RATIO, end=WARMUP, by_epoch=False),
        MultiStepLR(optimizer, milestones=[milestone], gamma=0.1, by_epoch=False),
    ]
    for step, (first, _) in enumerate(run(optimizer, schedulers, 1100)):
        decay = 0.1 if step >= milestone else 1.0
        assert first == pytest.approx(closed_form(LR, step) * decay, rel=1e-9)


def test_late_begin_leaves_the_rate_alone_before_it() -> None:
    optimizer = make_optimizer()
    scheduler = ExponentialWarmupLR(optimizer, ratio=0.01, begin=5, end=15, by_epoch=False)
    rates = run(optimizer, [scheduler], 20)
    expected = [LR] * 5 + [closed_form(LR, step, 10, 0.01) for step in range(10)] + [LR] * 5
    assert [first for first, _ in rates] == pytest.approx(expected, rel=1e-12)


def test_by_epoch_counts_epochs() -> None:
    optimizer = make_optimizer()
    scheduler = ExponentialWarmupLR(optimizer, ratio=0.01, end=2)  # by_epoch=True, as MMEngine
    assert scheduler.by_epoch
    rates = [first for first, _ in run(optimizer, [scheduler], 4)]
    assert rates == pytest.approx([0.01 * LR, 0.1 * LR, LR, LR], rel=1e-12)


def test_convert_to_iter_based_through_the_registry() -> None:
    optimizer = make_optimizer()
    wrapper = OptimWrapper(optimizer)
    cfg = dict(type='ExponentialWarmupLR', ratio=RATIO, end=2, convert_to_iter_based=True)
    scheduler = PARAM_SCHEDULERS.build(cfg, default_args=dict(optimizer=wrapper, epoch_length=460))
    assert isinstance(scheduler, ExponentialWarmupLR)
    assert not scheduler.by_epoch
    for step, (first, _) in enumerate(run(optimizer, [scheduler], WARMUP + 5)):
        assert first == pytest.approx(closed_form(LR, step), rel=1e-9)


def test_resume_in_the_middle_is_exact() -> None:
    whole = make_optimizer()
    uninterrupted = run(whole, [ExponentialWarmupLR(whole, ratio=RATIO, end=WARMUP)], 1000)

    first = make_optimizer()
    scheduler = ExponentialWarmupLR(first, ratio=RATIO, end=WARMUP)
    run(first, [scheduler], 333)
    saved = copy.deepcopy((first.state_dict(), scheduler.state_dict()))

    second = make_optimizer(lr=123.0)  # must come from the checkpoint, not from the constructor
    resumed = ExponentialWarmupLR(second, ratio=0.5, end=7)
    second.load_state_dict(saved[0])
    resumed.load_state_dict(saved[1])
    assert run(second, [resumed], 1000 - 333) == uninterrupted[333:]


@pytest.mark.parametrize('ratio', [0.0, -0.1, 1.5, float('nan')])
def test_bad_ratio_is_one_sentence(ratio: float) -> None:
    with pytest.raises(ValueError, match=r'^ratio=\S+ of ExponentialWarmupLR must be above 0'):
        ExponentialWarmupLR(make_optimizer(), ratio=ratio, end=10)


def test_missing_end_is_one_sentence() -> None:
    with pytest.raises(ValueError, match=r'^ExponentialWarmupLR needs `end`'):
        ExponentialWarmupLR(make_optimizer(), ratio=0.1)


def test_end_not_after_begin_is_one_sentence() -> None:
    with pytest.raises(ValueError, match=r'^end=5 of ExponentialWarmupLR must be larger than beg'):
        ExponentialWarmupLR(make_optimizer(), ratio=0.1, begin=5, end=5)


def test_ratio_one_is_no_warm_up() -> None:
    optimizer = make_optimizer()
    rates = run(optimizer, [ExponentialWarmupLR(optimizer, ratio=1.0, end=5)], 8)
    assert all(first == LR for first, _ in rates)
