"""The rules of rescaling as mathematics: against the trainings that they claim to match."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmengine.model import ExponentialMovingAverage
from torch import nn

from agvm_mm.launch.rescale import rules


class TestLearningRate:
    def test_by_hand(self) -> None:
        assert rules.linear(16, 256) == 16
        assert rules.square_root(16, 256) == 4
        # The released recipes: 0.02 at 16, 0.16 at 128, 0.16 sqrt(2) at 256.
        assert 0.02 * rules.linear_then_sqrt(16, 128) == pytest.approx(0.16)
        assert 0.02 * rules.linear_then_sqrt(16, 256) == pytest.approx(0.16 * math.sqrt(2))
        assert rules.linear_then_sqrt(256, 1024) == pytest.approx(2)
        assert rules.linear_then_sqrt(16, 256, knee=16) == pytest.approx(4)

    @given(st.integers(1, 4096), st.integers(1, 4096), st.integers(1, 4096))
    def test_two_steps_are_one(self, a: int, b: int, c: int) -> None:
        for rule in (rules.linear, rules.square_root, rules.linear_then_sqrt):
            assert rule(a, b) * rule(b, c) == pytest.approx(rule(a, c))


class TestAverages:
    @pytest.mark.parametrize('steps', [2, 4, 16])
    def test_k_small_steps_are_one_large_step(self, steps: int) -> None:
        """Gradient flow of a linear problem: w moves by -lr c each step, k lr for the large one.

        Busbridge et al. equate the weight of the past, and neglect how the weights move meanwhile;
        the averages then differ by the order of one step, against the way of the whole run.
        """
        slope, lr, rho, large = torch.tensor([1.0, -2.0]), 1e-3, 0.01, 50

        def train(updates: int, rate: float, momentum: float) -> torch.Tensor:
            model = nn.Linear(2, 1, bias=False)
            nn.init.zeros_(model.weight)
            average = ExponentialMovingAverage(model, momentum=momentum)
            average.update_parameters(model)
            for _ in range(updates):
                model.weight.data -= rate * slope
                average.update_parameters(model)
            return average.module.weight.data.flatten()

        one = train(large * steps, lr, rho)
        other = train(large, lr * steps, rules.weight_of_new(rho, steps))
        unscaled = train(large, lr * steps, rho)
        step = lr * steps * slope.abs()
        assert ((one - other).abs() <= step).all()
        assert ((one - unscaled).abs() > 3 * step).all()

    def test_the_past_weighs_the_same(self) -> None:
        """Without a move of the weights the equality is exact."""
        small, large = 1.0, 1.0
        for _ in range(12):
            small = (1 - 0.02) * small
        for _ in range(3):
            large = (1 - rules.weight_of_new(0.02, 4)) * large
        assert large == pytest.approx(small)
        assert rules.weight_of_past(0.98, 4) == pytest.approx(0.98 * 0.98 * 0.98 * 0.98)

    @given(st.floats(1e-6, 0.999), st.floats(0.01, 100))
    def test_two_definitions_are_one_rule(self, rho: float, ratio: float) -> None:
        past = rules.weight_of_past(1 - rho, ratio)
        assert rules.weight_of_new(rho, ratio) == pytest.approx(1 - past, abs=1e-12)


def stationary(lr: float, adam: rules.Adam, noise: float, updates: int) -> tuple[float, float]:
    """Mean square of many coordinates of Adam on w^2 / 2 with noise: half way, and at the end."""
    generator = np.random.default_rng(0)
    w = np.full(4000, 1.0)
    m, v, half = np.zeros_like(w), np.full_like(w, noise**2 + 1), 0.0
    (first, second), eps = adam
    for update in range(updates):
        gradient = w + noise * generator.standard_normal(w.size)
        m = first * m + (1 - first) * gradient
        v = second * v + (1 - second) * gradient**2
        w = w - lr * m / (np.sqrt(v) + eps)
        if update + 1 == updates // 2:
            half = float(np.mean(w**2))
    return half, float(np.mean(w**2))


class TestAdam:
    def test_by_hand(self) -> None:
        (first, second), eps = rules.adam_sde(4, rules.Adam((0.9, 0.999), 1e-8))
        assert (first, second, eps) == (pytest.approx(0.6), pytest.approx(0.996), 5e-9)

    def test_the_same_course_on_a_quadratic_with_noise(self) -> None:
        """Batch x4: noise / 2, rate x2, a quarter of the updates, half way down and at the end.

        The rule is for large noise, where the second moment is that of the noise. Linear scaling
        has about twice the stationary spread.
        """
        adam, lr, noise, updates = rules.Adam((0.9, 0.999), 1e-8), 0.02, 30.0, 4000
        small = stationary(lr, adam, noise, updates)
        large_adam = rules.adam_sde(4, adam)
        root = rules.square_root(16, 64)
        large = stationary(lr * root, large_adam, noise / 2, updates // 4)
        linear = stationary(lr * 4, large_adam, noise / 2, updates // 4)
        assert large == pytest.approx(small, rel=0.12)
        assert linear[1] > 1.5 * small[1]

    def test_a_batch_without_a_beta(self) -> None:
        with pytest.raises(ValueError, match='beta=0.9 has no counterpart at 16 times the batch'):
            rules.adam_sde(16, rules.Adam((0.9, 0.999), 1e-8))


class TestLengths:
    def test_by_hand(self) -> None:
        assert [rules.length(n, 4) for n in (0, 1, 5, 6, 25, 256)] == [0, 1, 1, 2, 6, 64]
        assert rules.length(100, 0.5) == 200
        assert rules.factor_of_decay(0.9, 3) == pytest.approx(0.729)

    @given(st.integers(0, 10**5), st.integers(1, 10**5), st.floats(0.1, 500))
    def test_a_span_ends_where_its_end_does(self, begin: int, span: int, ratio: float) -> None:
        (new,) = rules.spans(begin, [span], ratio)
        assert new >= 1
        end = rules.length(begin + span, ratio)
        assert rules.length(begin, ratio) + new == max(end, rules.length(begin, ratio) + 1)

    @pytest.mark.parametrize(
        ('batch', 'warmup', 'begin', 'window'),
        [(512, 460, 560, (360, 561)), (1024, 230, 287, (173, 288))],
    )
    def test_the_released_window(
        self, batch: int, warmup: int, begin: int, window: tuple[int, int]
    ) -> None:
        """From 256: 920 of warm-up, begin 1020, clipping 820 to 1020. At 1024, 230 // 4 = 57."""

        def move(update: int) -> int:
            return rules.near_warmup(update, 920, warmup, batch / 256)

        assert move(1020) == begin
        assert (move(820), move(1021 - 1) + 1) == window

    def test_far_from_the_warm_up_the_share_counts(self) -> None:
        assert rules.near_warmup(5000, 100, 25, 4) == 25 + 1225
        assert rules.near_warmup(0, 100, 25, 4) == 0
        assert rules.near_warmup(400, 0, 0, 4) == 100

    def test_agvm(self) -> None:
        assert [rules.margin_after_warmup(n) for n in (0, 154, 400, 7330)] == [0, 38, 100, 100]
        assert [rules.interval_of_estimates(b) for b in (32, 1024, 1025)] == [10, 10, 5]
