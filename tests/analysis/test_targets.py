"""Updates to a target, from the courses of several runs."""

from __future__ import annotations

import math

import pytest

from agvm_mm.analysis.targets import Course, summarize, updates_to_loss, updates_to_score


def test_updates_to_a_loss_are_those_of_a_moving_mean() -> None:
    losses = [4.0, 1.0, 3.0, 2.0, 1.0, 1.0]
    assert updates_to_loss(losses, 2.5, 1) == 2
    assert updates_to_loss(losses, 2.0, 3) == 4
    assert updates_to_loss(losses, 0.5, 3) is None
    assert updates_to_loss([math.nan] * 5, 2.0, 3) is None


def test_updates_to_a_score_are_those_of_a_validation() -> None:
    assert updates_to_score([(10, 0.1), (20, 0.3), (30, 0.2)], 0.2) == 20
    assert updates_to_score([(10, 0.1)], 0.2) is None


def test_ratios_are_to_the_first_recipe() -> None:
    def course(recipe: str, seed: int, length: int, seconds: float) -> Course:
        losses = [1.0] * length + [0.0] * 20
        return Course(recipe, seed, losses, [seconds] * len(losses), [(length, 0.5)])

    courses = [course('sgd', 0, 10, 1.0), course('kfac', 0, 4, 1.5), course('sgd', 1, 14, 1.0),
               course('kfac', 1, 8, 1.5)]  # fmt: skip
    sgd, kfac = summarize(courses, 0.0, 0.5, 1)
    assert (sgd['updates_to_loss'], kfac['updates_to_loss']) == (13.0, 7.0)
    assert kfac['updates_to_loss_ratio'] == pytest.approx(13 / 7)
    assert kfac['updates_to_score_ratio'] == pytest.approx(12 / 6)
    assert (sgd['seconds_ratio'], kfac['seconds_ratio']) == (1.0, 1.5)
    [missed] = summarize(courses[:1], -1.0, 0.9, 1)
    assert missed['updates_to_loss'] is missed['updates_to_score_ratio'] is None
