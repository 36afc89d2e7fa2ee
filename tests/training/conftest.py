"""An uninterrupted run on the small scene dataset, once a session."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope='session')
def whole(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Work directory of four epochs without a fault, with a checkpoint of each."""
    import training_runs as runs

    work_dir = tmp_path_factory.mktemp('whole')
    runs.train(scenes, work_dir)
    return work_dir
