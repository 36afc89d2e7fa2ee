"""The tool that weighs the optimizers' steps, on a tiny detector."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tool_modules import load_tool

pytest.importorskip('mmcv._ext', reason='mmdet needs the compiled ops of mmcv')
pytest.importorskip('pytorch_optimizer')


def test_the_table(monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path) -> None:
    tool, out = load_tool('lab.optimizer_cost'), tmp_path / 'cost.json'
    sizes = ['--model', 'tiny', '--size', '64', '--rounds', '1']
    chosen = ['--optimizers', 'SGD', 'LAMB', 'Muon', '--out', str(out)]
    monkeypatch.setattr('sys.argv', ['optimizer_cost.py', *sizes, *chosen])
    tool.main()
    rows = json.loads(out.read_text())['rows']
    assert [*rows] == ['SGD', 'LAMB', 'Muon']
    assert rows['SGD']['ratio'] == '1.00' and float(rows['Muon']['modelled']) > 1
    assert [row['state'] for row in rows.values()] == ['1.0', '2.0', '1.0']
    assert int(rows['LAMB']['operations']) < 32
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(' | ')[0] for line in lines[-3:]] == ['| SGD', '| LAMB', '| Muon']


def test_views_are_not_counted_and_a_list_is_one_operation() -> None:
    launches = load_tool('lab.optimizer_cost').Launches
    x = torch.ones(4, 6)
    with launches() as counted:
        torch._foreach_mul_([x.view(6, 4), x.T], 2.0)
    assert counted.names == ['_foreach_mul_']
