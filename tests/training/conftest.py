"""A small scene dataset and an uninterrupted run on it, once a session."""

from __future__ import annotations

from pathlib import Path

import pytest
from launcher import run_tool


@pytest.fixture(scope='session')
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder for AGVM_MM_DATA with 12 training and 4 validation scenes of 64 pixels."""
    folder = tmp_path_factory.mktemp('data')
    run_tool(
        'dataset_converters/generate_scenes.py',
        folder / 'scenes',
        '--train',
        12,
        '--val',
        4,
        '--size',
        64,
        64,
        '--empty',
        0,
    )
    return folder


@pytest.fixture(scope='session')
def whole(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Work directory of four epochs without a fault, with a checkpoint of each."""
    import training_runs as runs

    work_dir = tmp_path_factory.mktemp('whole')
    runs.train(scenes, work_dir)
    return work_dir
