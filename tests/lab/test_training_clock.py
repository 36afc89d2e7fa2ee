"""Validation does not count."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from lab.curves import stopwatch, training_clock


def test_time_in_training_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(stopwatch, '_now', lambda: (now[0], now[0] / 2))
    hook = training_clock.TrainingClockHook()
    runner = SimpleNamespace(epoch=0, iter=0, work_dir=str(tmp_path))
    hook.before_train(runner)
    for epoch in (1, 2):
        now[0] += 10
        runner.epoch, runner.iter = epoch, 7 * epoch
        hook.before_val(runner)
        now[0] += 100
        hook.after_val_epoch(runner, dict(ap=0.1 * epoch))
        hook.after_val(runner)
    lines = [json.loads(line) for line in (tmp_path / 'curve.jsonl').read_text().splitlines()]
    assert [line['seconds'] for line in lines] == [10, 20]
    assert lines[1] == dict(epoch=2, iteration=14, seconds=20, cpu_seconds=10, metrics=dict(ap=0.2))
