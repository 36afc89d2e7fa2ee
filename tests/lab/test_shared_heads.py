"""Real heads that share normalisers: ranks and micro-batches are one with the hook."""

from __future__ import annotations

from typing import Any

import pytest
import torch._dynamo  # noqa: F401  what ranks would import, before the fork
from ranks import run_ranks

from agvm_mm.wrappers.normalisers import SharedNormalisers
from lab.architectures.small import CONFIGS, build_small
from lab.architectures.updates import Share, Weights, distance, train, trained
from lab.cost.models import build_model

pytestmark = pytest.mark.lab


def _train(rank: int, name: str, weights: Weights, ranks: int, exact: bool) -> Any:
    return train(name, weights, Share(rank, ranks, 8 // ranks, exact))


@pytest.mark.parametrize(
    ('name', 'heads'),
    [('FCOS', ['FCOSHead']), ('DINO', ['DINOHead']), ('Mask2Former', ['Mask2FormerHead'])],
)
def test_the_heads_are_found(name, heads):
    assert SharedNormalisers(build_small(name)).heads == heads


@pytest.mark.parametrize('name', ['retinanet_r50', 'tiny'], ids=['RetinaNet', 'Faster R-CNN'])
def test_heads_that_count_for_themselves_are_none(name):
    assert SharedNormalisers(build_model(name)).heads == []


@pytest.mark.slow
@pytest.mark.parametrize('name', list(CONFIGS))
def test_micro_batches_of_a_detector_are_ranks(name):
    """1 x 8 = 2 x 4 = 8 x 1: the update, phi and scales; without the hook they differ."""
    weights = trained(name)
    whole, state = run_ranks(_train, 8, name, weights, 8, False)[0]
    for ranks in (1, 2):
        update, other = run_ranks(_train, ranks, name, weights, ranks, True)[0]
        assert distance(update, whole) < 1e-10
        for module, values in state['modules'].items():
            assert values == pytest.approx(other['modules'][module], rel=1e-8), module
    apart, _ = run_ranks(_train, 1, name, weights, 1, False)[0]
    print(f'{name}: {distance(apart, whole):.3f}')
    assert distance(apart, whole) > 0.01
