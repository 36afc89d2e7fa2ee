"""The averaged noise scale is in images, whatever the number of images of each estimate."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from networks import ReplayNet

from agvm_mm.distributed import SingleProcess
from agvm_mm.gradients import AllPairs, HalfSplitMicroBatches
from agvm_mm.statistics import (
    ScaleConfig,
    ScaleState,
    VarianceEstimate,
    cosine_estimate,
    init_scales,
    moment_estimate,
    partition_parameters,
    update_scales,
)

SIGNAL, NOISE = 0.02, 8.0  # of one image's gradient: a noise scale of 400


def _column(value: float) -> torch.Tensor:
    return torch.tensor([value], dtype=torch.float64)


def _of_pairs(batches: list[int], signal: float = SIGNAL) -> VarianceEstimate:
    """What is expected of sample gradients over ``batches`` images."""
    count = len(batches)
    spread = NOISE * sum(1 / b for b in batches) / count
    images = count**2 / sum(1 / b for b in batches)
    a, b = (_column(signal + x) for x in (spread, spread / count))
    return moment_estimate(a, b, count, images)


def _of_halves(first: int, second: int) -> VarianceEstimate:
    """What is expected of half-batch means over ``first`` and ``second`` images."""
    dot, a, b = (_column(SIGNAL + x) for x in (0.0, NOISE / first, NOISE / second))
    return cosine_estimate(dot, a, b, 2, 4 / (1 / first + 1 / second))


def _average(estimates: list[VarianceEstimate], momentum: float = 0.9) -> ScaleState:
    state = init_scales(1)
    for estimate in estimates:
        state = update_scales(state, estimate, ScaleConfig(momentum=momentum))
    return state


@pytest.mark.parametrize(
    'estimates',
    [
        [_of_pairs([25] * 8)] * 3,
        [_of_pairs([25] * 8)] * 30 + [_of_pairs([25] * 2)],
        [_of_pairs([25, 25])] * 30 + [_of_pairs([25, 1])],
        [_of_pairs([25, 1]), _of_pairs([3, 7, 100]), _of_pairs([25] * 8), _of_pairs([1, 1])],
        [_of_halves(100, 100)] * 20 + [_of_halves(100, 3)],
        [_of_halves(1, 2), _of_halves(50, 25)],
    ],
    ids=['constant', 'remainder', 'odd micro-batch', 'any', 'odd half', 'unequal halves'],
)
def test_every_estimate_enters_with_its_own_images(estimates):
    assert float(_average(estimates).noise_scale) == pytest.approx(400, rel=1e-11)


def test_an_estimate_of_few_samples_weighs_as_much_as_one_of_many():
    """Noise scales of 400 and 800 at the same momentum, by hand."""
    many, few = _of_pairs([25] * 8), _of_pairs([25, 25], signal=SIGNAL / 2)
    scale = max(SIGNAL + 2 * NOISE / 200, (SIGNAL / 2 + 2 * NOISE / 50) / 4)
    assert float(many.denominator) == pytest.approx(SIGNAL + 2 * NOISE / 200, rel=1e-12)
    state = _average([many, few], momentum=0.5)
    first, second = 0.25 / (SIGNAL + 2 * NOISE / 200), 0.5 / scale
    expected = NOISE * (first + second) / (SIGNAL * first + SIGNAL / 2 * second)
    assert float(state.noise_scale) == pytest.approx(expected, rel=1e-12)


def test_an_estimate_that_does_not_know_its_images_leaves_the_noise_scale():
    known, unknown = _of_pairs([25] * 8), VarianceEstimate(*torch.ones(2, 1).double(), 8, 0)
    state = _average([known, unknown, known])
    assert float(state.noise_scale) == pytest.approx(400, rel=1e-12)
    assert float(state.phi) != pytest.approx(float(_average([known]).phi), rel=1e-3)
    assert math.isnan(_average([unknown]).noise_scale)


def test_without_signal_it_is_infinite_and_before_any_estimate_unknown():
    assert float(_average([_of_pairs([4] * 4, signal=-SIGNAL)]).noise_scale) == math.inf
    assert math.isnan(init_scales(1).noise_scale)


@pytest.mark.parametrize('kind', [AllPairs, HalfSplitMicroBatches])
@pytest.mark.parametrize('batches', [(2, 2), (3, 1), (1, 2, 1), (1, 1, 3)])
def test_signal_and_noise_are_unbiased_for_unequal_micro_batches(kind, batches):
    """The mean over all signs of the images' noise, which is exact: gradients 0.5 +- 1."""
    signal, noise = [], []
    for signs in itertools.product((-1.0, 1.0), repeat=sum(batches)):
        model = ReplayNet(dict(backbone=1), torch.zeros(1, dtype=torch.float64))
        collector = kind(partition_parameters(model), SingleProcess())
        parts = torch.tensor(signs).double().split(batches)
        for index, part in enumerate(parts):
            with collector.around_backward(index, len(batches), images=len(part)):
                (model(list(0.5 + part[:, None]))['loss_backbone'] / len(batches)).backward()
        estimate = collector.estimate()
        signal.append(float(estimate.signal))
        noise.append(float(estimate.noise))
    assert sum(signal) / len(signal) == pytest.approx(0.25, rel=1e-12)
    assert sum(noise) / len(noise) == pytest.approx(1.0, rel=1e-12)
