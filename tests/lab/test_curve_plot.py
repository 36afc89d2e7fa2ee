"""Curves of two arms: every run a line, every arm a colour and one entry in the legend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('matplotlib', reason='it draws')

from lab.curves import curve_plot
from lab.curves.targets import Course


def run(arm: str, *points: tuple[float, dict[str, float]]) -> dict[str, Any]:
    curve = [dict(seconds=t, cpu_seconds=2 * t, metrics=metrics) for t, metrics in points]
    return dict(arm=arm, curve=curve)


def test_lines_colours_and_legend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    drawn = []
    monkeypatch.setattr(curve_plot, 'save', lambda figure, out: drawn.append(figure) or [])
    runs = [
        run('baseline', (10, dict(ap=0.1, small=0.2)), (20, dict(ap=0.3, small=0.1))),
        run('curriculum', (5, {}), (25, dict(ap=0.4, small=0.3))),  # first without a detection
        run('baseline', (11, dict(ap=0.2, small=0.2))),
    ]
    curve_plot.plot_curves(runs, dict(ap='box AP', small='small objects'), tmp_path / 'x')
    [figure] = drawn
    left, right = figure.axes
    assert [line.get_xydata().tolist() for line in left.lines] == [
        [[20, 0.1], [40, 0.3]],
        [[10, 0.0], [50, 0.4]],
        [[22, 0.2]],
    ]
    assert right.lines[0].get_ydata().tolist() == [0.2, 0.1]
    assert (left.get_ylabel(), right.get_ylabel()) == ('box AP', 'small objects')
    first, second, third = (line.get_color() for line in left.lines)
    assert first == third != second
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ['baseline', 'curriculum']


def test_loss_over_a_window_and_score_against_updates(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    drawn = []
    monkeypatch.setattr(curve_plot, 'save', lambda figure, out: drawn.append(figure) or [])
    courses = [
        Course('sgd', 0, losses=[4.0, 2.0, 3.0], scores=[(2, 0.1), (3, 0.2)]),
        Course('sgd', 1, losses=[1.0, 1.0], scores=[]),
        Course('kfac', 0, losses=[2.0] * 60, scores=[(60, 0.5)]),
    ]
    curve_plot.plot_courses(courses, 2, 'coco/bbox_mAP', tmp_path / 'x')
    loss, score = drawn[0].axes
    lines = [line.get_xydata().tolist() for line in loss.lines]
    assert lines[:2] == [[[2, 3.0], [3, 2.5]], [[2, 1.0]]]
    assert lines[2] == [[end, 2.0] for end in range(2, 61)]
    assert [line.get_marker() == '' for line in loss.lines] == [False, False, True]
    assert score.lines[0].get_xydata().tolist() == [[2, 0.1], [3, 0.2]]
    assert (loss.get_ylabel(), score.get_ylabel()) == ('loss, mean of 2 updates', 'coco/bbox_mAP')
    names = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert names == ['sgd', 'kfac']


def test_files_and_the_other_clock(tmp_path: Path) -> None:
    curve = run('one', (1, dict(ap=0.5)))
    paths = curve_plot.plot_curves([curve], dict(ap='AP'), tmp_path / 'curves', 'seconds')
    assert [path.name for path in paths] == ['curves.png', 'curves.svg']
    assert all(path.stat().st_size > 1000 for path in paths)
