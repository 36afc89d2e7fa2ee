"""Bands of logged curves by hand, and where there is none."""

from __future__ import annotations

import math

import pytest

from agvm_runs.curves.bands import anchor_of, band
from agvm_runs.curves.history import History
from agvm_runs.curves.plot import LABELS, figure_of
from agvm_runs.curves.series import Series


def _history(scale: float = math.sqrt(0.9 / 0.4)) -> History:
    return History(
        'run $x_',
        {
            'phi': {'backbone': [(10, 0.9)], 'neck': [(5, 0.3), (10, 0.4)]},
            'phi_se': {'backbone': [(10, 0.05)], 'neck': [(10, 0.02)]},
            'noise_scale': {'backbone': [(10, 36.0)], 'neck': [(10, 2.0)]},
            'scale': {'backbone': [(10, 1.0)], 'neck': [(10, scale)]},
            'lr': {'backbone': [(10, 0.1)], 'neck': [(10, 0.1)]},
        },
    )


def test_phi():
    ((step, low, high),) = band(_history(), 'phi', 'neck')
    assert step == 10 and (low, high) == pytest.approx((0.3608, 0.4392), abs=1e-4)


def test_the_noise_scale_has_that_of_phi():
    """A batch of b images gives B = b / (2 x): its ends are those of 1 / phi to first order."""
    ((_, low, high),) = band(_history(), 'noise_scale', 'neck')
    images, reach = 2 * 2.0 * (1 / 0.4 - 1), 1.95996 * 0.02 / 0.4**2
    assert low == pytest.approx(images / (2 * (1.5 + reach)), rel=1e-4)
    assert high == pytest.approx(images / (2 * (1.5 - reach)), rel=1e-4)
    ((_, low, high),) = band(_history(), 'noise_scale', 'backbone')
    assert math.isinf(high) and low < 36


def test_the_scale_has_both_errors():
    ((_, low, high),) = band(_history(), 'scale', 'neck')
    expected = 1.95996 / 2 * math.hypot(0.05 / 0.9, 0.02 / 0.4)
    assert math.log(high / 1.5) == pytest.approx(expected, rel=1e-4)
    assert math.log(1.5 / low) == pytest.approx(expected, rel=1e-4)


def test_none_for_the_anchor_a_clamped_scale_and_the_learning_rate():
    history = _history()
    assert anchor_of(history) == 'backbone'
    assert band(history, 'scale', 'backbone') == band(history, 'lr', 'neck') == []
    assert band(_history(scale=1.2), 'scale', 'neck') == []


def test_none_in_a_run_without_standard_errors():
    history = _history()
    del history.curves['phi_se']
    assert [band(history, quantity, 'neck') for quantity in LABELS] == [[], [], [], []]


def test_an_endless_interval_leaves_the_curves_in_view():
    figure = figure_of([_history(), _history()], ['phi', 'noise_scale'])
    for axes in figure.axes[2:]:
        low, high = axes.get_ylim()
        assert axes.get_yscale() == 'log' and 0.5 < low < 2.0 and 36.0 < high < 100.0


def test_an_endless_interval_is_shaded_to_the_top_of_the_figure():
    """Also if no end of any interval is finite."""
    history = _history()
    history.curves['phi_se'] = {'backbone': Series.of([(10, 0.9)])}
    for one in (_history(), history):
        axes = figure_of([one], ['noise_scale']).axes[0]
        shades = [shade.get_paths()[0].vertices[:, 1] for shade in axes.collections]
        assert len(shades) == len(one.curves['phi_se'])
        assert shades[0].min() < 36 and shades[0].max() > 1e3 * axes.get_ylim()[1]


def test_two_runs_side_by_side_say_what_is_what():
    figure = figure_of([_history(), _history()], ['phi', 'noise_scale'])
    assert [a.get_title() for a in figure.axes[:2]] == ['run $x_', 'run $x_']
    assert figure.axes[0].get_ylabel() == 'normalised variance φ'
    assert figure.axes[2].get_xlabel() == 'iteration'
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ['backbone', 'neck']
