"""Standard errors of ratios against their spread, and the quantile against tables."""

from __future__ import annotations

import math

import pytest
import torch

from agvm_mm.statistics.precision import effective_estimates, ratio_of_means
from agvm_runs.quantiles import student_quantile


def test_ratio_and_error_by_hand():
    # Ratio 8 / 4 = 2, residuals 1 - 2 = -1 and 7 - 6 = 1: sqrt(2 * 2 / 1) / 4 = 1 / 2.
    numerator, denominator = torch.tensor([[1.0], [7.0]]), torch.tensor([[1.0], [3.0]])
    ratio, error = ratio_of_means(numerator.double(), denominator.double())
    assert float(ratio) == 2.0 and float(error) == pytest.approx(0.5)


def test_rows_without_an_estimate_do_not_count():
    numerator = torch.tensor([[1.0, 1.0], [7.0, 7.0], [0.0, 4.0]]).double()
    denominator = torch.tensor([[1.0, 1.0], [3.0, 3.0], [0.0, 2.0]]).double()
    ratio, error = ratio_of_means(numerator, denominator)
    assert float(error[0]) == pytest.approx(0.5) and float(error[1]) < 0.5
    alone = ratio_of_means(numerator[:1], denominator[:1])
    assert alone[0].tolist() == [1.0, 1.0] and bool(alone[1].isnan().all())


def test_effective_number_is_that_of_the_weights():
    for momentum in (0.5, 0.97):
        for count in (1, 4, 300):
            weights = momentum ** torch.arange(count).double()
            expected = float(weights.sum() ** 2 / weights.square().sum())
            found = effective_estimates(torch.tensor([float(count)]).double(), momentum)
            assert float(found) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ('count', 'table'), [(4, 3.182), (6, 2.571), (11, 2.228), (31, 2.042), (100001, 1.960)]
)
def test_quantile_is_that_of_the_tables(count, table):
    assert student_quantile(count) == pytest.approx(table, rel=0.02 if count < 6 else 2e-3)


def test_few_estimates_give_a_wide_interval():
    assert math.isfinite(student_quantile(2)) and student_quantile(2) > student_quantile(4)
