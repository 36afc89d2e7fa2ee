"""What a run under a curriculum leaves behind as text."""

from __future__ import annotations

from pathlib import Path

import pytest
from curriculum_toy import run

from agvm_runs.reproduce.runs import find_runs
from agvm_runs.work_dir import find_scalars, parse_lines, read_lines

STAGES = [dict(share=0.5, ratio=0.5), dict(share=0.5, ratio=1.0)]


@pytest.mark.parametrize(
    ('length', 'end'),
    [(dict(by_epoch=True, max_epochs=4), 10), (dict(by_epoch=False, max_iters=16), 40)],
    ids=['epochs', 'iterations'],
)
def test_every_training_line_has_the_real_length(
    tmp_path: Path, length: dict[str, int], end: int
) -> None:
    """Half of the compute at a quarter of the cost: 4 (0.5 / 0.25 + 0.5) epochs of four."""
    run(
        tmp_path / 'run_seed0',
        dict(stages=STAGES),
        train_cfg=length,
        log_processor=dict(by_epoch=length['by_epoch']),
        default_hooks=dict(
            param_scheduler=dict(type='ComputeParamSchedulerHook'),
            logger=dict(type='LoggerHook', interval=3),
            checkpoint=None,
        ),
    )
    (log,) = find_scalars(tmp_path / 'run_seed0')
    entries = list(parse_lines(read_lines(log), log))
    assert len(entries) > 9 and {entry['curriculum/length'] for entry in entries} == {end}
    # The config in the directory has no length, so that the log alone can tell.
    (found,) = find_runs(tmp_path, 'run', 'mIoU')
    assert not found.finished and f'/{end}' in found.progress
