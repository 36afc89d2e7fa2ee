"""Bands of logged curves by hand, and where there is none."""

from __future__ import annotations

import math

import pytest

from agvm_runs.curves.bands import anchor_of, band
from agvm_runs.curves.history import History
from agvm_runs.curves.plot import LABELS, figure_of
from agvm_runs.work_dir import FileError


def _history(scale: float = math.sqrt(0.9 / 0.4)) -> History:
    return History(
        'run $x_',
        {
            'phi': {'backbone': [(10, 0.9)], 'neck': [(5, 0.3), (10, 0.4)]},
            'phi_low': {'backbone': [(10, 0.8)], 'neck': [(10, 0.36)]},
            'phi_high': {'backbone': [(10, 1.0125)], 'neck': [(10, 0.44)]},
            'noise_scale': {'backbone': [(10, 36.0)], 'neck': [(10, 2.0)]},
            'scale': {'backbone': [(10, 1.0)], 'neck': [(10, scale)]},
            'lr': {'backbone': [(10, 0.1)], 'neck': [(10, 0.1)]},
        },
    )


def test_phi():
    ((step, low, high),) = band(_history(), 'phi', 'neck')
    assert (step, low, high) == (10, 0.36, 0.44)


def test_the_noise_scale_has_that_of_phi():
    """A batch of b images gives B = b / (2 x) with x = 1 / phi - 1, at the ends too."""
    ((_, low, high),) = band(_history(), 'noise_scale', 'neck')
    images = 2 * 2.0 * (1 / 0.4 - 1)
    assert low == pytest.approx(images / (2 * (1 / 0.36 - 1)), rel=1e-9)
    assert high == pytest.approx(images / (2 * (1 / 0.44 - 1)), rel=1e-9)
    ((_, low, high),) = band(_history(), 'noise_scale', 'backbone')
    assert math.isinf(high) and low < 36


def test_the_scale_has_both_intervals():
    """It grows with the anchor's phi, 0.8 to 1.0125, and falls with the neck's, 0.36 to 0.44."""
    ((_, low, high),) = band(_history(), 'scale', 'neck')
    down = math.hypot(math.log(0.9 / 0.8), math.log(0.44 / 0.4)) / 2
    up = math.hypot(math.log(1.0125 / 0.9), math.log(0.4 / 0.36)) / 2
    assert math.log(1.5 / low) == pytest.approx(down, rel=1e-9)
    assert math.log(high / 1.5) == pytest.approx(up, rel=1e-9)


def test_none_for_the_anchor_a_clamped_scale_and_the_learning_rate():
    history = _history()
    assert anchor_of(history) == 'backbone'
    assert band(history, 'scale', 'backbone') == band(history, 'lr', 'neck') == []
    assert band(_history(scale=1.2), 'scale', 'neck') == []


def test_none_in_a_run_without_intervals():
    history = _history()
    del history.curves['phi_low']
    assert [band(history, quantity, 'neck') for quantity in LABELS] == [[], [], [], []]


def test_an_endless_interval_leaves_the_curves_in_view():
    figure = figure_of([_history(), _history()], ['phi', 'noise_scale'])
    for axes in figure.axes[2:]:
        low, high = axes.get_ylim()
        assert axes.get_yscale() == 'log' and 0.5 < low < 2.0 and 36.0 < high < 100.0


def test_an_endless_interval_is_shaded_to_the_top_of_the_figure():
    axes = figure_of([_history()], ['noise_scale']).axes[0]
    shades = [shade.get_paths()[0].vertices[:, 1] for shade in axes.collections]
    assert len(shades) == 2
    assert shades[0].min() < 36 and shades[0].max() > 1e3 * axes.get_ylim()[1]


def test_a_quantity_that_no_run_logged_has_no_row():
    history = _history()
    del history.curves['noise_scale']
    figure = figure_of([history], ['phi', 'noise_scale', 'lr'])
    assert [axes.get_ylabel() for axes in figure.axes] == [LABELS['phi'], LABELS['lr']]
    with pytest.raises(FileError, match=r'run \$x_ logged no noise_scale: nothing to draw'):
        figure_of([history], ['noise_scale'])


def test_no_label_is_tex():
    history = _history()
    history.curves['lr'] = {'neck': [(10, 0.0)]}
    figure = figure_of([History('zero', history.curves)], ['lr'])
    figure.canvas.draw()
    labels = [text.get_text() for axes in figure.axes for text in axes.get_yticklabels()]
    assert labels and not any('mathdefault' in label for label in labels)


def test_two_runs_side_by_side_say_what_is_what():
    figure = figure_of([_history(), _history()], ['phi', 'noise_scale'])
    assert [a.get_title() for a in figure.axes[:2]] == ['run $x_', 'run $x_']
    assert figure.axes[0].get_ylabel() == 'normalised variance φ'
    assert figure.axes[2].get_xlabel() == 'iteration'
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ['backbone', 'neck']
