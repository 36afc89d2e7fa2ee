"""The tools that train end with a sentence where they cannot work, and without a traceback."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from launcher import ROOT

CALLS = {
    'miniature.py': ['--tune', '0'],
    'analysis_tools/curriculum_benchmark.py': ['detection', 'OUT', '--jobs', '0'],
    'analysis_tools/curriculum_statistics.py': ['OUT', '--counts', '1'],
    'analysis_tools/updates_to_target.py': [
        'x.py',
        '--loss',
        '1',
        '--score',
        '1',
        '--out',
        'x.json',
    ],
    'analysis_tools/estimator_quality.py': ['x.py', '--horizon', '1'],
    'analysis_tools/benchmark.py': ['--ranks', '1'],
    'analysis_tools/optimizer_cost.py': ['--rounds', '0'],
    'analysis_tools/effective_batch.py': ['retinanet', '--updates', '5', '--window', '6'],
    'analysis_tools/predict_batch_size.py': ['x.py', '--check', '4', '0'],
    'analysis_tools/scaling_model.py': ['--gpus', '8', '0'],
}


@pytest.mark.parametrize('tool', CALLS)
def test_a_refusal_is_one_sentence(
    tool: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip('mmcv._ext', reason='mmdet needs the compiled ops of mmcv')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('AGVM_MM_DATA', str(tmp_path))
    path = ROOT / 'tools' / tool
    monkeypatch.setattr('sys.argv', [str(path), *CALLS[tool]])
    with pytest.raises(SystemExit, match=r'^error: [^\n]*\.$'):
        runpy.run_path(str(path), run_name='__main__')
    assert list(tmp_path.iterdir()) == []
