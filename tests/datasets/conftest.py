"""The dataset script and a small dataset that it has drawn."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / 'tools' / 'dataset_converters' / 'generate_scenes.py'


@pytest.fixture(scope='session')
def generate_scenes() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location('generate_scenes', SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='session')
def scene_folder(tmp_path_factory: pytest.TempPathFactory, generate_scenes: ModuleType) -> Path:
    """24 training and 6 validation images of 96 x 128 pixels, with one or more empty ones."""
    folder = tmp_path_factory.mktemp('scenes') / 'data'
    counts = ['--train', '24', '--val', '6', '--size', '96', '128', '--empty', '0.15']
    generate_scenes.main([str(folder), *counts])
    return folder
