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
    sets = ['{"norms": false}', '{"max_block": 20}']
    monkeypatch.setattr('sys.argv', ['kfac_cost.py', *options, '--kfac', *sets])
    tool.main()
    content = json.loads(out.read_text())
    assert content['kfac'] == [{'norms': False}, {'max_block': 20}]
    assert len(content['sgd']) == 2
    for seconds in content['seconds']:
        assert {kind: len(values) for kind, values in seconds.items()} == dict.fromkeys(
            ['other', 'measuring', 'inverting'], 2
        )
    lines = [line.split(' | ') for line in capsys.readouterr().out.splitlines()[-5:]]
    assert [line[0] for line in lines[-2:]] == ['| mean at 10 / 100', '| mean at 5 / 10']
    assert {len(line) for line in lines} == {3}


def test_a_segmenter(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    options = ['--model', 'sem-fpn_r18', '--size', '64', '--images', '1', '--rounds', '1']
    monkeypatch.setattr('sys.argv', ['kfac_cost.py', *options])
    load_tool('lab.kfac_cost').main()
    assert 'sem-fpn_r18, 1 images of 64 x 64' in capsys.readouterr().out


def test_a_mean_weighs_every_kind_by_its_share() -> None:
    """Of ten updates one inverts, one measures alone and eight do neither."""
    ratios = dict(other=1.2, measuring=2.0, inverting=5.0)
    mean = load_tool('lab.kfac_cost')._mean(ratios, 5, 10)
    assert mean == pytest.approx((8 * 1.2 + 2.0 + 5.0) / 10)


def test_errors_fall_with_the_number_of_positions(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    tool = load_tool('lab.kfac_sampling')
    options = ['--model', 'tiny', '--size', '64', '--limits', '100000', '64', '4', '--draws', '1']
    options += ['--blocks', '5000', '40', '--updates', '1']
    monkeypatch.setattr('sys.argv', ['kfac_sampling.py', *options])
    tool.main()
    lines = capsys.readouterr().out.splitlines()[-5:]
    rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]
    errors = [float(row[1]) for row in rows[:3]]
    assert errors[0] == 0 and 0 < errors[1] < errors[2]
    assert rows[0][4] == '1.000'
    assert rows[3][1:] == ['', '', '0.000', '1.000']
    assert float(rows[4][3]) > 0.001
