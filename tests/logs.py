"""Work directories as MMEngine writes them, by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LINE = '2026/01/01 00:00:00 - mmengine - INFO - '


def train_line(epoch: int, step: int, loss: float = 1.0) -> dict[str, Any]:
    return {'lr': 0.02, 'loss': loss, 'time': 0.5, 'epoch': epoch, 'iter': step, 'step': step}


def evaluation(step: int, **scores: float) -> dict[str, Any]:
    named = {key.replace('__', '/'): value for key, value in scores.items()}
    return {**named, 'data_time': 0.1, 'time': 0.2, 'step': step}


def write_run(
    folder: Path,
    entries: list[dict[str, Any]],
    length: str = 'max_epochs=12',
    log: str = '',
    stamp: str = '20260101_000000',
    tail: str = '',
) -> Path:
    """One launch; returns its scalars.json."""
    path = folder / stamp / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text(''.join(json.dumps(entry) + '\n' for entry in entries) + tail)
    config = f"train_cfg = dict({length}, type='EpochBasedTrainLoop', val_interval=1)\n"
    (path.parent / 'config.py').write_text(config)
    (folder / stamp / f'{stamp}.log').write_text(log)
    return path
