"""The command that measures what ``attach`` costs."""

from __future__ import annotations

import pytest
import torch
from tool_modules import load_tool

pytestmark = pytest.mark.lab


def test_every_loop_is_timed_and_only_one_estimates(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip('mmcv._ext', reason='mmdet needs the compiled ops of mmcv')
    command = load_tool('lab.attach_cost')
    loops = []
    build = command.Loop.__init__

    def keep(self: object, *args: object) -> None:
        build(self, *args)
        loops.append(self)

    monkeypatch.setattr(command.Loop, '__init__', keep)
    monkeypatch.setattr('sys.argv', ['x', '--model', 'tiny', '--size', '64', '--rounds', '2'])
    command.main()
    rows = [line.split('|')[1:-1] for line in capsys.readouterr().out.splitlines()[3:]]
    names = ['attach, other updates', 'attach, estimating', 'plain, again']
    assert [row[0].strip() for row in rows] == names
    assert all(0 < float(row[1]) < 100 for row in rows)
    _, other, estimating, _ = loops
    estimates = [
        loop.handle.state_dict()['agvm']['modules']['backbone']['estimates']
        for loop in (other, estimating)
    ]
    assert estimates == [0, 3]
    weights = [torch.cat([p.reshape(-1) for p in loop.model.parameters()]) for loop in loops]
    assert torch.equal(weights[0], weights[3])
