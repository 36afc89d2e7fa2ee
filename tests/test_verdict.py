"""The sentences about batch and noise scale, by hand."""

from __future__ import annotations

import pytest

from agvm_runs.verdict import CAVEAT, Phi, sentences


def _phi(times: float) -> float:
    """Phi where the batch is this many times the noise scale."""
    return 1 / (1 + times / 2)


@pytest.mark.parametrize('times', [0.01, 0.25, 1.0, 4.0, 18.0])
def test_a_doubled_batch_saves_what_the_law_says(times: float) -> None:
    """Updates to a target: S (1 + B / b), here with b = 1."""
    before, after = 1 + 1 / times, 1 + 1 / (2 * times)
    phi = _phi(times)
    assert Phi('neck', phi, phi, phi).saved == pytest.approx((1 - after / before,) * 3)


def test_sentences() -> None:
    rpn = Phi('rpn_head', _phi(18), _phi(25), _phi(16))
    neck = Phi('neck', _phi(1), _phi(1.5), _phi(0.8))
    backbone = Phi('backbone', 0.98, 0.95, 1.02)
    assert sentences(256, [backbone, neck, rpn]) == [
        'backbone: batch 256 is at most 0.105 times the noise scale, perfect scaling: doubling it '
        'saves at least 45% of the updates.',
        'neck: batch 256 is 1 (0.8 to 1.5) times the noise scale, sweet spot: doubling it saves '
        '20% to 28% of the updates.',
        'rpn_head: batch 256 is 18 (16 to 25) times the noise scale, diminishing returns: doubling '
        'it saves at most 3% of the updates.',
        'The model: doubling batch 256 saves at most 50% of the updates, the share of its noisiest '
        'module, backbone.',
        CAVEAT,
    ]
    assert sentences(256, []) == []


def test_an_interval_over_a_limit_names_both_zones() -> None:
    phi = Phi('neck', _phi(4), _phi(6), _phi(3))
    assert phi.zones == ['sweet spot', 'diminishing returns']
    assert '7% to 12% of the updates' in sentences(64, [phi])[0]


def test_an_interval_over_all_zones_says_nothing_of_them() -> None:
    phi = Phi('neck', 0.6, 0.2, 1.8)
    expected = 'neck: batch 8 is at most 8 times the noise scale: the estimates are too few to say'
    assert sentences(8, [phi])[0].startswith(expected)
