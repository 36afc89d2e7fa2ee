"""Curves are read back as they were logged."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from launcher import run_tool

from agvm_runs.curves import read_history
from lab.trainings.results import distil, write_result


def _log(folder: Path, run: str, entries: list[dict[str, float]], tail: str = '') -> None:
    path = folder / run / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text(''.join(json.dumps(entry) + '\n' for entry in entries) + tail)


def _entry(step: int, phi: float) -> dict[str, float]:
    return {
        'iter': step,
        'step': step,
        'loss': 1.0,
        'agvm/phi/roi_head.bbox_head': phi,
        'agvm/scale/roi_head.bbox_head': 1.5,
        'agvm/roi_head.bbox_head.lr': 0.02,
        'agvm/noise_scale/neck': float('inf'),
    }


def test_curves_by_quantity_and_module(tmp_path):
    _log(tmp_path, '20260101_000000', [_entry(10, 0.5), _entry(20, 0.25)])
    history = read_history(tmp_path)
    assert history.name == tmp_path.name
    assert history.curves['phi'] == {'roi_head.bbox_head': [(10, 0.5), (20, 0.25)]}
    assert history.curves['lr'] == {'roi_head.bbox_head': [(10, 0.02), (20, 0.02)]}
    assert 'noise_scale' not in history.curves
    assert history.modules() == ['roi_head.bbox_head']


def test_a_resumed_run_is_joined_and_repeats_count_once(tmp_path):
    _log(tmp_path, '20260101_000000', [_entry(10, 0.5), _entry(20, 0.9)], tail='{"step": 30, "ag')
    _log(tmp_path, '20260102_000000', [_entry(20, 0.25), _entry(30, 0.2)])
    curve = read_history(tmp_path).curves['phi']['roi_head.bbox_head']
    assert curve == [(10, 0.5), (20, 0.25), (30, 0.2)]


def test_a_run_that_begins_again_replaces_what_was_there(tmp_path):
    """Of two recipes in one directory only the last is drawn."""
    _log(tmp_path, '20260101_000000', [_entry(10, 0.5), _entry(20, 0.9), _entry(30, 0.8)])
    _log(tmp_path, '20260102_000000', [_entry(10, 0.25)])
    assert read_history(tmp_path).curves['phi'] == {'roi_head.bbox_head': [(10, 0.25)]}


def test_a_folder_without_curves_is_named(tmp_path):
    _log(tmp_path, '20260101_000000', [{'step': 1, 'loss': 2.0}])
    with pytest.raises(FileNotFoundError, match=tmp_path.name):
        read_history(tmp_path)


def test_a_kept_result_has_the_curves_of_its_work_directory(tmp_path):
    _log(tmp_path / 'run', '20260101_000000', [_entry(10, 0.5), _entry(20, 0.25)])
    with (tmp_path / 'run/20260101_000000/vis_data/scalars.json').open('a') as log:
        log.write(json.dumps({'step': 20, 'coco/bbox_mAP': 0.3}))
    write_result(tmp_path / 'run_seed0.json', distil(tmp_path / 'run'))
    kept, logged = read_history(tmp_path / 'run_seed0.json'), read_history(tmp_path / 'run')
    assert kept.name == 'run_seed0'
    for quantity in ('phi', 'scale'):
        assert kept.curves[quantity] == logged.curves[quantity]
    assert kept.curves['noise_scale'] == {'neck': []}


def test_values_that_are_not_finite_are_left_out_of_old_and_new_results(tmp_path):
    curve = [[1, math.nan], [2, 0.5], [3, math.inf]]
    result = {'scores': {}, 'modules': {'phi': {'neck': curve}}}
    (tmp_path / 'old.json').write_text(json.dumps(result))
    write_result(tmp_path / 'new.json', result)
    for name in ('old', 'new'):
        assert read_history(tmp_path / f'{name}.json').curves == {'phi': {'neck': [(2, 0.5)]}}


def test_the_tool_writes_png_and_svg(tmp_path):
    _log(tmp_path / 'a', '20260101_000000', [_entry(10, 0.5), _entry(20, 0.25)])
    out = tmp_path / 'figure'
    printed = run_tool(
        'analysis_tools/plot_variance.py', tmp_path / 'a', tmp_path / 'a', '--out', out
    )
    assert printed.splitlines() == [f'{out}.png', f'{out}.svg']
    assert out.with_suffix('.png').read_bytes().startswith(b'\x89PNG')
    assert out.with_suffix('.svg').stat().st_size > 10_000


def test_the_tool_names_a_folder_without_curves(tmp_path):
    printed = run_tool('analysis_tools/plot_variance.py', tmp_path, fails=True)
    assert str(tmp_path) in printed and 'Traceback' not in printed
