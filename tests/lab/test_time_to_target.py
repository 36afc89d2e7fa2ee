"""Time to a target, worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from lab.curves.time_to_target import compare, summarise, time_to


def curve(*points: tuple[float, float]) -> list[dict[str, Any]]:
    return [
        dict(seconds=t, cpu_seconds=2 * t, iteration=i, metrics=dict(ap=value))
        for i, (t, value) in enumerate(points)
    ]


def test_interpolated_at_the_first_crossing() -> None:
    found = curve((10, 0.1), (20, 0.3), (30, 0.2), (40, 0.5))
    assert time_to(found, 'ap', 0.2) == 15
    assert time_to(found, 'ap', 0.2, 'cpu_seconds') == 30
    assert time_to(found, 'ap', 0.05) == 10
    assert time_to(found, 'ap', 0.4) == pytest.approx(30 + 10 * 2 / 3)
    assert time_to(found, 'ap', 0.6) is None


def test_ratio_and_changes() -> None:
    baseline, fast, slow = (
        curve((50, 0.2), (100, 0.4)),
        curve((40, 0.4), (90, 0.6)),
        curve((80, 0.3)),
    )
    first, second = compare(baseline, fast, 'ap'), compare(baseline, slow, 'ap')
    assert first['ratio'] == dict(seconds=0.4, cpu_seconds=0.4)
    assert first['whole_ratio'] == dict(seconds=0.9, cpu_seconds=0.9)
    assert second['ratio']['seconds'] is None
    assert first['equal_time'] == dict(seconds=0.6, cpu_seconds=0.6)
    assert compare(baseline, curve((60, 0.1), (90, 0.3), (101, 0.9)), 'ap')['equal_time'] == dict(
        seconds=0.3, cpu_seconds=0.3
    )
    assert compare(baseline, curve((101, 0.9)), 'ap')['equal_time']['seconds'] == 0
    found = summarise([first, second])
    assert (found['runs'], found['reached']) == (2, 1)
    assert found['ratio']['seconds'] == dict(mean=0.4, sd=0.0) == found['ratio']['cpu_seconds']
    assert found['whole_ratio']['cpu_seconds']['mean'] == pytest.approx((0.9 + 0.8) / 2)
    assert found['change']['ap']['mean'] == pytest.approx((0.2 - 0.1) / 2)


def test_a_validation_without_a_detection_scores_nothing() -> None:
    blind, seeing = curve((10, 0.0), (20, 0.4)), curve((10, 0.2), (20, 0.4))
    blind[0]['metrics'] = {}
    assert time_to(blind, 'ap', 0.2) == 15
    found = summarise([compare(blind[:1], seeing, 'ap')])
    assert found['change']['ap']['mean'] == 0.4
