"""lab.rule_cost finds the runs of a rule, or those that have its rate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tool_modules import load_tool, parse

NAME = 'faster-rcnn_r18_fpn_{}_scenes'


def keep(folder: Path, name: str, *scores: float) -> None:
    """A result for every seed."""
    for seed, score in enumerate(scores):
        result = {'scores': {'coco/bbox_mAP': score}, 'modules': {}}
        (folder / f'{name}_seed{seed}.json').write_text(json.dumps(result))


def test_a_rule_is_compared_with_the_searched_rate(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    """AdamW has 0.003 at 16 and at 64; LAMB's sqrt rule, 2 x 0.00875, is its searched 0.0175."""
    tool = load_tool('lab.rule_cost')
    base = NAME.format('adamw_2xb8-256it')
    keep(tmp_path, NAME.format('adamw_8xb8-64it'), 0.14, 0.16)
    keep(tmp_path, f'{base}_sqrt_64', 0.10, 0.14)
    keep(tmp_path, f'{base}_adam-sde_64', 0.13)
    keep(tmp_path, f'{base}_linear_64', 0.0, 0.0)
    keep(tmp_path, NAME.format('lamb_8xb8-64it'), 0.17, 0.17)
    for rate, score in ((0.0175, 0.16), (0.035, 0.11)):
        result = dict(cfg_options={tool.RATE: rate}, scores={'coco/bbox_mAP': score}, modules={})
        path = tmp_path / 'tuning' / f'{NAME.format("lamb_8xb8-64it")}_lr{rate}_seed100.json'
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(result))
    parse(tool, monkeypatch, '--optimizers', 'adamw', 'lamb', '--results', tmp_path)
    tool.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if ' | 64 | ' in line] == [
        '| adamw | 64 | searched | 0.003 | 15.0 ± 1.4 (n=2) |  |',
        '| adamw | 64 | linear | 0.012 | 0.0 ± 0.0 (n=2) | 15.0 |',
        '| adamw | 64 | sqrt | 0.006 | 12.0 ± 2.8 (n=2) | 3.0 |',
        '| adamw | 64 | linear-then-sqrt | 0.012 | 0.0 ± 0.0 (n=2) | 15.0 |',
        '| adamw | 64 | adam-sde | 0.006 | 13.0 (n=1) | 2.0 |',
        '| lamb | 64 | searched | 0.0175 | 17.0 ± 0.0 (n=2) |  |',
        '| lamb | 64 | linear | 0.035 | 11.0 (n=1), tuning seed | 5.0 |',
        '| lamb | 64 | sqrt | 0.0175 | 17.0 ± 0.0 (n=2) | 0.0 |',
        '| lamb | 64 | linear-then-sqrt | 0.035 | 11.0 (n=1), tuning seed | 5.0 |',
    ]
    assert sum('not run' in line for line in lines if ' | 128 | ' in line) == 8
