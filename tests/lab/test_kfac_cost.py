"""The tools that weigh K-FAC's updates and its sampling of positions, on a tiny detector."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tool_modules import load_tool

pytest.importorskip('mmcv._ext', reason='mmdet needs the compiled ops of mmcv')


def test_ratios_and_their_means(
    monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path
) -> None:
    tool, out = load_tool('lab.kfac_cost'), tmp_path / 'cost.json'
    options = ['--model', 'tiny', '--size', '64', '--rounds', '2', '--out', str(out)]
    monkeypatch.setattr('sys.argv', ['kfac_cost.py', *options, '--kfac', '{"norms": false}'])
    tool.main()
    content = json.loads(out.read_text())
    assert content['kfac'] == {'norms': False}
    assert {kind: len(values) for kind, values in content['seconds'].items()} == dict.fromkeys(
        ['SGD', 'other', 'measuring', 'inverting'], 2
    )
    lines = [line.split(' | ')[0] for line in capsys.readouterr().out.splitlines()[-5:]]
    assert lines[-2:] == ['| mean at 10 / 100', '| mean at 5 / 10']


def test_a_segmenter(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    options = ['--model', 'sem-fpn_r18', '--size', '64', '--images', '1', '--rounds', '1']
    monkeypatch.setattr('sys.argv', ['kfac_cost.py', *options])
    load_tool('lab.kfac_cost').main()
    assert 'sem-fpn_r18, 1 images of 64 x 64' in capsys.readouterr().out


def test_a_mean_weighs_every_kind_by_its_share() -> None:
    """Of ten updates one inverts, one measures alone and eight do neither."""
    means = dict(SGD=2.0, other=2.4, measuring=4.0, inverting=10.0)
    assert load_tool('lab.kfac_cost')._mean(means, 5, 10) == pytest.approx(
        (8 * 1.2 + 2.0 + 5.0) / 10
    )


def test_errors_fall_with_the_number_of_positions(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    tool = load_tool('lab.kfac_sampling')
    options = ['--model', 'tiny', '--size', '64', '--limits', '100000', '64', '4', '--draws', '1']
    monkeypatch.setattr('sys.argv', ['kfac_sampling.py', *options])
    tool.main()
    rows = [line.strip('| ').split(' | ') for line in capsys.readouterr().out.splitlines()[-3:]]
    errors = [float(row[1]) for row in rows]
    assert errors[0] == 0 and 0 < errors[1] < errors[2]
    assert rows[0][4].strip() == '1.000'
