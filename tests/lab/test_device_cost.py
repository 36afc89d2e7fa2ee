"""The costs on a device, on a tiny detector and the CPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tool_modules import load_tool

from agvm_mm.kfac import KFAC

pytest.importorskip('mmcv._ext', reason='mmdet needs the compiled ops of mmcv')


def test_every_arm_measures_where_it_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """AGVM reads once for an estimate, and K-FAC's factors are due at every measurement."""
    tool, out = load_tool('lab.device_cost'), tmp_path / 'cost.json'
    before_update, due = KFAC.before_update, list[tuple[int, bool]]()

    def spy(kfac: KFAC, update: int) -> None:
        before_update(kfac, update)
        due.append((update, kfac.due))

    monkeypatch.setattr(KFAC, 'before_update', spy)
    options = ['--model', 'tiny', '--size', '64', '--rounds', '2', '--out', str(out)]
    monkeypatch.setattr('sys.argv', ['device_cost.py', *options])
    tool.main()
    measuring = [one for update, one in due if update > 0 and update % 10 == 0]
    assert len(measuring) > 2 and all(measuring)
    assert not any(one for update, one in due if update % 10 == 1)
    rows: list[dict[str, Any]] = json.loads(out.read_text())['rows']
    reads = {(row['arm'], row['update']): row['host reads'] for row in rows}
    for (arm, update), found in reads.items():
        assert found == (1 if update == 'measuring' and arm != 'K-FAC' else 0)
