"""A checkpoint that could run code is refused before a byte of it is loaded."""

from __future__ import annotations

import io
import os
import pickle
import runpy
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import launch_toy
import pytest
import torch
from launcher import ROOT
from mmengine.logging import HistoryBuffer
from torch_versions import tells_names

from agvm_mm import compat
from agvm_mm.launch.checkpoint import OPT_OUT, require_plain
from agvm_mm.launch.errors import LaunchError


class _Payload:
    """What an attacker's pickle is: a call of any function with any arguments."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


class _Attribute:
    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, self.arguments


class _ByGetattr(_Payload):
    """Names ``getattr`` and one function that torch allows, and reaches ``open`` through them."""

    def __reduce__(self) -> tuple[Any, ...]:
        function = _Attribute(_Attribute(getattr, '__self__'), 'open')
        arguments = (str(self.marker), 'w')
        return torch._tensor._rebuild_from_type_v2, (function, torch.Tensor, arguments, {})


pytestmark = tells_names
PAYLOADS = {'posix.mkdir': _Payload, 'builtins.getattr': _ByGetattr}


@pytest.fixture(autouse=True)
def _own_allow_list(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(OPT_OUT, raising=False)
    before = torch.serialization.get_safe_globals()
    yield
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(before)


def _save(folder: Path, zipped: bool = True, name: str = 'posix.mkdir') -> tuple[Path, Path]:
    weights = launch_toy.LaunchToyModel().state_dict()
    content = dict(state_dict=weights, meta=dict(evil=PAYLOADS[name](folder / 'ran')))
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


@pytest.mark.parametrize('zipped', [True, False])
def test_the_payload_runs_where_getattr_is_allowed(tmp_path: Path, zipped: bool) -> None:
    """Else the tests of its refusal prove nothing."""
    path, marker = _save(tmp_path, zipped, 'builtins.getattr')
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals([getattr])
    with suppress(Exception):
        torch.load(path, weights_only=True)
    assert marker.exists()


@pytest.mark.parametrize('zipped', [True, False])
def test_getattr_is_refused_where_mmengine_allows_it(tmp_path: Path, zipped: bool) -> None:
    path, marker = _save(tmp_path, zipped, 'builtins.getattr')
    torch.serialization.add_safe_globals([getattr])
    with pytest.raises(LaunchError, match='evil.pth is not loaded, as it holds builtins.getattr'):
        require_plain(path)
    compat.allow_own_checkpoints()
    with pytest.raises(pickle.UnpicklingError, match='builtins.getattr of anything but'):
        torch.load(path, weights_only=True)
    assert not marker.exists()


@pytest.mark.parametrize(
    'arguments',
    [
        (HistoryBuffer, '__init__'),
        (HistoryBuffer, 'statistics'),
        (torch.Tensor, 'min'),
        (HistoryBuffer.min, '__globals__'),
        (HistoryBuffer, 'min', None),
    ],
)
def test_getattr_reaches_the_statistics_of_a_history_alone(
    tmp_path: Path, arguments: tuple[Any, ...]
) -> None:
    torch.save(dict(a=_Attribute(*arguments)), tmp_path / 'a.pth')
    with pytest.raises(LaunchError):
        require_plain(tmp_path / 'a.pth')
    torch.save(dict(a=_Attribute(HistoryBuffer, 'min')), tmp_path / 'a.pth')
    require_plain(tmp_path / 'a.pth')


def test_no_general_callable_is_allowed() -> None:
    torch.serialization.clear_safe_globals()  # of torch's own
    torch.serialization.add_safe_globals([getattr])
    compat.allow_own_checkpoints()
    allowed = torch.serialization.get_safe_globals()
    objects = [entry[0] if isinstance(entry, tuple) else entry for entry in allowed]
    # numpy's two functions rebuild arrays and numbers; the rest is types.
    functions = {entry.__name__ for entry in objects if not isinstance(entry, type)}
    assert functions == {'_history_statistic', '_reconstruct', 'scalar'}
    assert {entry for entry in objects if entry.__module__ == 'builtins'} == {slice}


def test_what_mmengine_writes_passes(tmp_path: Path) -> None:
    path = tmp_path / 'a.pth'
    history = HistoryBuffer([1.0], [1])
    torch.save(dict(state_dict=dict(w=torch.ones(2)), message_hub=dict(a=history)), path)
    assert b'getattr' in path.read_bytes()
    require_plain(path)
    require_plain(tmp_path, directory=True)  # as DeepSpeed writes
    require_plain('https://example.org/a.pth')


def _bytes(kind: str, folder: Path) -> bytes:
    """What may stand in a file that somebody calls a checkpoint."""
    buffer = io.BytesIO()
    if kind == 'an archive':
        with ZipFile(buffer, 'w') as archive:
            archive.writestr('a.txt', 'hello')
        return buffer.getvalue()
    if kind == 'a pickle':
        return pickle.dumps({'a': 1})
    zipped = kind == 'truncated'
    torch.save(dict(a=torch.ones(2000)), buffer, _use_new_zipfile_serialization=zipped)
    content = buffer.getvalue()
    return {
        'truncated': content[: len(content) // 2],
        'old and truncated': content[: len(content) // 2],
        'old and cut in its names': content[:200],
        'empty': b'',
        'a page': b'<!DOCTYPE html><title>404</title>',
    }[kind]


UNUSABLE = {
    'truncated': 'it is truncated or damaged',
    'empty': 'it is empty',
    'a directory': 'it is a directory',
    'a page': 'it is no checkpoint of torch',
    'an archive': 'torch cannot read it as one',
    'a pickle': 'torch cannot read it as one',
    'old and truncated': 'torch cannot read it as one',
    'old and cut in its names': 'torch cannot read it as one',
}


@pytest.mark.parametrize('kind', [kind for kind in UNUSABLE if kind != 'a directory'])
def test_what_is_no_whole_checkpoint_is_not_suspected(tmp_path: Path, kind: str) -> None:
    path = tmp_path / 'a.pth'
    path.write_bytes(_bytes(kind, tmp_path))
    with pytest.raises(LaunchError) as refused:
        require_plain(path)
    assert str(refused.value) == (
        f'{path} cannot be loaded: {UNUSABLE[kind]}; allowed is a whole checkpoint that torch.save '
        'wrote, set in --checkpoint.'
    )


def test_trust_does_not_make_a_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OPT_OUT, '1')
    with pytest.raises(LaunchError, match='a.pth cannot be loaded: there is no such file'):
        require_plain(tmp_path / 'a.pth')


def test_the_user_may_trust_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OPT_OUT, '1')
    require_plain(_save(tmp_path)[0])


def _sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str, path: Path | str) -> str:
    """What a tool says as it exits."""
    name, *flags = tool.split()
    second = name in ('test.py', BRANCH)
    options = [] if flags or second else ['--cfg-options', f'load_from={path}']
    config = launch_toy.write_config(tmp_path)
    positional = [config, path] if second else [config]
    arguments = [name, *positional, *([*flags, path] if flags else options)]
    if name == PREDICT.split()[0]:
        arguments += ['--images', 1, '--samples', 64]
    monkeypatch.setenv('LOCAL_RANK', '0')
    monkeypatch.setattr(sys, 'argv', list(map(str, arguments)))
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(ROOT / 'tools' / name), run_name='__main__')
    return str(stop.value.code)


PREDICT = 'analysis_tools/predict_batch_size.py --checkpoint'
BRANCH = 'analysis_tools/critical_batch.py'


@pytest.mark.usefixtures('quick_start')
@pytest.mark.parametrize('name', PAYLOADS)
@pytest.mark.parametrize('tool', ['train.py', 'train.py --resume', 'test.py', PREDICT, BRANCH])
def test_the_tools_refuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str, name: str
) -> None:
    path, marker = _save(tmp_path, name=name)
    sentence = _sentence(tmp_path, monkeypatch, tool, path).removeprefix('error: ')
    assert sentence.startswith(f'{path} is not loaded, as it holds {name}')
    assert not marker.exists()


@pytest.mark.usefixtures('quick_start')
@pytest.mark.parametrize('kind', ['truncated', 'empty', 'a page', 'missing', 'a directory'])
@pytest.mark.parametrize(
    ('tool', 'where'),
    [
        ('train.py', 'set in load_from.'),
        ('test.py', 'set in the second argument of tools/test.py.'),
        (PREDICT, 'set in --checkpoint.'),
        (BRANCH, 'set in the second argument of critical_batch.py.'),
    ],
)
def test_the_tools_name_a_file_that_cannot_be_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str, where: str, kind: str
) -> None:
    path = tmp_path / 'a.pth'
    if kind == 'a directory':
        path.mkdir()
    elif kind != 'missing':
        path.write_bytes(_bytes(kind, tmp_path))
    sentence = _sentence(tmp_path, monkeypatch, tool, path).removeprefix('error: ')
    assert sentence.startswith(f'{path} cannot be loaded: {UNUSABLE.get(kind, "there is no such")}')
    assert sentence.endswith(where) and '\n' not in sentence
    assert not (tmp_path / 'work').exists()


@pytest.mark.usefixtures('quick_start')
@pytest.mark.parametrize('tool', ['train.py', 'train.py --resume', 'test.py', PREDICT, BRANCH])
@pytest.mark.parametrize('name', ['', 'file://a.pth', '~nobody-of-that-name/a.pth', 'a' * 5000])
def test_the_tools_name_a_path_that_leads_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str, name: str
) -> None:
    sentence = _sentence(tmp_path, monkeypatch, tool, name).removeprefix('error: ')
    assert sentence.startswith(name or "''")
    assert ': there is no such file; ' in sentence and '\n' not in sentence
    assert not (tmp_path / 'work').exists()
