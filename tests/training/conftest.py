"""A small scene dataset and an uninterrupted run on it, once a session."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope='session')
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder for AGVM_MM_DATA with 12 training and 4 validation scenes of 64 pixels."""
    import training_runs as runs

    return runs.draw_scenes(tmp_path_factory.mktemp('data'))


@pytest.fixture(scope='session')
def whole(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Work directory of four epochs without a fault, with a checkpoint of each."""
    import training_runs as runs

    work_dir = tmp_path_factory.mktemp('whole')
    runs.train(scenes, work_dir)
    return work_dir
