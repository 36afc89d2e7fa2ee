"""Curves as arrays: later points count, and thinning hides no spike."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
from launcher import ROOT, environment
from logs import train_line, write_run

from agvm_runs.curves.series import COLUMNS, Recorder, Series, envelope, thin
from agvm_runs.report.findings import estimates_made
from agvm_runs.report.run import Run
from agvm_runs.settings import AGVMSettings


def test_of_equal_iterations_the_later_counts():
    recorder = Recorder()
    for step, value in [(3, 1.0), (1, 2.0), (3, 4.0), (2, 5.0), (1, 6.0)]:
        recorder.add('a', step, value)
    assert recorder.series() == {'a': [(1, 6.0), (2, 5.0), (3, 4.0)]}


def test_a_thinned_curve_keeps_its_spikes_and_its_end():
    values = np.ones(100_000)
    values[[12_345, 67_890, 99_999]] = 50.0, -7.0, 3.0
    thinned = thin(Series(np.arange(100_000), values))
    assert len(thinned) <= 2 * COLUMNS + 2
    width = 100_000 / COLUMNS
    found = {value: step for step, value in thinned if value != 1}
    assert found.keys() == {50.0, -7.0, 3.0}
    assert 0 <= 12_345 - found[50.0] <= width and 0 <= 67_890 - found[-7.0] <= width
    assert thinned[-1] == (99_999, 3.0)


def test_a_short_curve_stays_and_what_cannot_be_drawn_is_a_gap():
    thinned = thin(Series([1, 2, 3], [0.5, 1e308, math.inf]))
    assert thinned.steps.tolist() == [1, 2, 3]
    assert thinned[0] == (1, 0.5) and np.isnan(thinned.values[1:]).all()


def test_a_thinned_band_is_as_wide_as_its_widest_row():
    low, high = np.zeros(10_000), np.ones(10_000)
    low[4_000], high[7_000] = -2.0, 9.0
    thinned = envelope(Series(np.arange(10_000), low, high))
    assert len(thinned) <= COLUMNS + 1
    assert (thinned.columns[0].min(), thinned.columns[1].max()) == (-2.0, 9.0)


def test_estimates_are_counted_without_walking_through_the_updates():
    for interval, begin, end in [
        (1, 0, None),
        (3, 4, None),
        (10, 25, 61),
        (7, 7, 8),
        (5, 90, None),
    ]:
        settings = AGVMSettings(interval=interval, begin=begin, end=end)
        for updates in (0, 1, 5, 26, 80):
            run = Run(Path('a'), last={'iter': updates})
            expected = sum(map(settings.estimates_at, range(updates)))
            assert estimates_made(run, settings) == expected
    assert estimates_made(Run(Path('a'), last={'iter': 2 * 10**9}), AGVMSettings()) == 2 * 10**8


def test_a_report_of_a_far_iteration_ends_and_needs_no_torch(tmp_path: Path):
    """One line at 2e9; a module that stands for torch would be loaded in its place."""
    write_run(tmp_path / 'run', [{**train_line(1, step), 'agvm/phi/neck': 0.5} for step in (1, 2)])
    log = next(tmp_path.glob('run/*/vis_data/scalars.json'))
    log.write_text(log.read_text() + json.dumps({**train_line(1, 2 * 10**9)}) + '\n')
    config = "optim_wrapper = dict(type='AGVMOptimWrapper', agvm=dict(interval=1))"
    (log.parent / 'config.py').write_text(config)
    (tmp_path / 'torch.py').write_text('raise RuntimeError("torch was loaded")')
    done = subprocess.run(
        [sys.executable, ROOT / 'tools/analysis_tools/report.py', tmp_path / 'run'],
        env={**environment(), 'PYTHONPATH': f'{tmp_path}:{ROOT}'},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert '2000000000 estimates' in (tmp_path / 'run/report.html').read_text()
