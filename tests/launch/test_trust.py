"""A checkpoint that could run code is refused before a byte of it is loaded."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import launch_toy
import pytest
import torch
from launcher import ROOT
from mmengine.logging import HistoryBuffer

from agvm_mm.launch.errors import LaunchError
from agvm_mm.launch.trust import OPT_OUT, require_plain


class _Payload:
    """What an attacker's pickle is: a call of any function with any arguments."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.fixture(autouse=True)
def _own_allow_list(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(OPT_OUT, raising=False)
    before = torch.serialization.get_safe_globals()
    yield
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(before)


def _save(folder: Path, zipped: bool = True) -> tuple[Path, Path]:
    weights = launch_toy.LaunchToyModel().state_dict()
    content = dict(state_dict=weights, meta=dict(evil=_Payload(folder / 'ran')))
    path = folder / 'evil.pth'
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path, folder / 'ran'


@pytest.mark.parametrize('zipped', [True, False])
def test_a_foreign_function_is_named_and_not_called(tmp_path: Path, zipped: bool) -> None:
    path, marker = _save(tmp_path, zipped)
    words = 'posix.mkdir' if zipped else 'a function or class'
    with pytest.raises(LaunchError, match=f'evil.pth is not loaded, as it holds {words}'):
        require_plain(path)
    assert not marker.exists()


def test_what_mmengine_writes_passes(tmp_path: Path) -> None:
    path = tmp_path / 'a.pth'
    history = HistoryBuffer([1.0], [1])
    torch.save(dict(state_dict=dict(w=torch.ones(2)), message_hub=dict(a=history)), path)
    require_plain(path)
    require_plain(tmp_path / 'absent.pth')
    require_plain('https://example.org/a.pth')


def test_the_user_may_trust_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OPT_OUT, '1')
    require_plain(_save(tmp_path)[0])


@pytest.mark.usefixtures('quick_start')
@pytest.mark.parametrize('tool', ['train.py', 'train.py --resume', 'test.py'])
def test_the_tools_refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str) -> None:
    path, marker = _save(tmp_path)
    name, *flags = tool.split()
    options = [] if flags or name == 'test.py' else ['--cfg-options', f'load_from={path}']
    config = launch_toy.write_config(tmp_path)
    positional = [config, path] if name == 'test.py' else [config]
    arguments = [name, *positional, *([*flags, path] if flags else options)]
    monkeypatch.setenv('LOCAL_RANK', '0')
    monkeypatch.setattr(sys, 'argv', list(map(str, arguments)))
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(ROOT / 'tools' / name), run_name='__main__')
    assert str(stop.value.code).startswith(f'error: {path} is not loaded, as it holds posix.mkdir')
    assert not marker.exists()
