"""Hostile and damaged checkpoints by the thousand: refused in one sentence, or read as written.

Held is a file that :func:`require_plain` refuses by a LaunchError, or one that then loads, by torch
and by MMEngine, as what was saved. Running anything that the file names is not.
"""

from __future__ import annotations

import copyreg
import io
import pickle
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED, ZipFile

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import _load_checkpoint
from torch_versions import tells_names

from agvm_mm import compat
from agvm_mm.launch.checkpoint import OPT_OUT, require_plain
from agvm_mm.launch.errors import LaunchError

pytestmark = [
    pytest.mark.slow,
    tells_names,
]
WEIGHT = torch.arange(1.0, 40.0)
CONTENT = dict(weight=WEIGHT, meta=dict(iter=3, text='abc'))
CENTRAL = b'PK\x01\x02'


@pytest.fixture(autouse=True)
def _own_allow_list(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(OPT_OUT, raising=False)
    before = torch.serialization.get_safe_globals()
    yield
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(before)


def saved(folder: Path) -> bytes:
    torch.save(CONTENT, folder / 'whole.pth')
    return (folder / 'whole.pth').read_bytes()


def is_refused(path: Path) -> bool:
    """Whether one sentence refuses the file; else it must be what was saved."""
    try:
        require_plain(path)
    except LaunchError as error:
        assert '\n' not in str(error) and str(error).startswith(str(path))
        return True
    compat.allow_own_checkpoints()
    for read in (
        torch.load(path, weights_only=True),
        _load_checkpoint(str(path), map_location='cpu', logger='silent'),
    ):
        assert torch.equal(read['weight'], WEIGHT) and read['meta'] == CONTENT['meta']
    return False


def damaged(whole: bytes) -> Iterator[tuple[str, bytes]]:
    """Every bit of the lists and headers, others at random, cuts, holes and strangers' bytes."""
    draw = random.Random(0)
    start = whole.find(CENTRAL)
    headers = [i for i in range(start) if whole.startswith(b'PK\x03\x04', i)]
    listed = list(range(8 * start, 8 * len(whole)))
    local = [8 * at + bit for at in headers for bit in range(8 * 60)]
    others = draw.sample(range(8 * start), 600)
    for name, bits in (('list', listed), ('header', local), ('content', others)):
        for bit in bits:
            content = bytearray(whole)
            content[bit // 8] ^= 1 << bit % 8
            yield name, bytes(content)
    for _ in range(400):
        content = bytearray(whole)
        for _ in range(draw.randint(2, 6)):
            content[draw.randrange(start, len(whole))] = draw.randrange(256)
        yield 'bytes of the list', bytes(content)
    for length in range(0, len(whole), 4):
        yield 'cut', whole[:length]
    for at in range(0, len(whole), 16):
        yield 'hole', whole[:at] + bytes(16) + whole[at + 16 :]
        yield 'gone', whole[:at] + whole[at + 16 :]
    for size in (1, 22, 100, 70_000):
        yield 'before', bytes(size) + whole
        yield 'after', whole + bytes(size)
        yield 'twice', whole + whole[:size]
    yield 'twice', whole + whole


def test_damaged_bytes(tmp_path: Path) -> None:
    path, refused, made = tmp_path / 'a.pth', 0, 0
    for _, content in damaged(saved(tmp_path)):
        path.write_bytes(content)
        refused, made = refused + is_refused(path), made + 1
    print(f'damaged bytes: {made} made, {refused} refused, {made - refused} read as written')
    assert made > 5000 and refused > 2000


def rebuilt(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Archives whose records are repeated, missing, compressed, directories or others."""
    saved(folder)
    with ZipFile(folder / 'whole.pth') as archive:
        records = [(record.filename, archive.read(record)) for record in archive.infolist()]

    def build(entries: list[tuple[str, bytes]], method: int = ZIP_STORED, attr: int = 0) -> bytes:
        buffer = io.BytesIO()
        with ZipFile(buffer, 'w', method) as archive:
            for name, content in entries:
                archive.writestr(name, content)
                archive.filelist[-1].external_attr = attr
        return buffer.getvalue()

    for method in (ZIP_DEFLATED, ZIP_BZIP2, ZIP_LZMA):
        packed = build(records, method)
        yield 'compressed', packed
        for at in range(30, len(packed), 40):
            yield 'compressed and damaged', packed[:at] + b'\xff\x00' + packed[at + 2 :]
    for attr in (0x10, 0x10 | 0o40755 << 16, 0xFF):
        yield 'directory', build(records, attr=attr)
    for index, (name, content) in enumerate(records):
        yield 'missing', build(records[:index] + records[index + 1 :])
        for again in (name, name.upper(), name.swapcase()):
            yield 'twice', build([*records, (again, bytes(len(content)))])
            yield 'twice', build([(again, bytes(len(content))), *records])
        for other in (content[:-1], content + b'\0', b'', bytes(len(content))):
            if other != content and not name.endswith(('_id', 'version', 'alignment')):
                entries = [(name, other) if name == one else (one, was) for one, was in records]
                if not name.endswith('data/0') or len(other) != len(content):
                    yield 'another record', build(entries)


def test_rebuilt_archives(tmp_path: Path) -> None:
    path, refused, made = tmp_path / 'a.pth', 0, 0
    for kind, content in rebuilt(tmp_path):
        path.write_bytes(content)
        answer = is_refused(path)
        assert answer or kind in ('missing', 'another record'), kind
        refused, made = refused + answer, made + 1
    print(f'rebuilt archives: {made} made, {refused} refused, {made - refused} read as written')
    assert made > 100


TARGETS = [
    *('posix mkdir', 'os mkdir', 'nt mkdir', 'os system', 'posix system', 'subprocess Popen'),
    *('builtins open', '__builtin__ open', '__builtin__ file', 'io open', '_io open', '_io FileIO'),
    *(
        'builtins exec',
        'builtins eval',
        'builtins __import__',
        'builtins compile',
        '__builtin__ map',
    ),
    *('builtins getattr', '__builtin__ getattr', 'builtins setattr', 'builtins vars'),
    *('operator attrgetter', 'operator methodcaller', 'functools partial', 'functools reduce'),
    *('types FunctionType', 'types CodeType', 'importlib import_module', 'runpy run_path'),
    *('pathlib Path.touch', 'codecs open', 'tempfile mkdtemp', 'shutil copyfile', 'pickle loads'),
    *('torch load', 'torch.serialization load', 'torch.hub load', 'torch.jit load', 'torch save'),
    *(
        'numpy load',
        'numpy save',
        'numpy memmap',
        'numpy fromfile',
        'numpy.core.multiarray fromfile',
    ),
    *(
        'numpy._core.multiarray fromfile',
        'numpy ndarray.tofile',
        'torch.storage UntypedStorage.from_file',
    ),
    *(
        'torch UntypedStorage.from_file',
        'mmengine load',
        'mmengine.fileio.io load',
        'yaml unsafe_load',
    ),
    *(
        'mmengine.config Config.fromfile',
        'mmengine.logging.history_buffer HistoryBuffer.statistics',
    ),
    *(
        'mmengine.logging.history_buffer HistoryBuffer.register_statistics',
        'copyreg _reconstructor',
    ),
    *('agvm_mm.compat _history_statistic', 'torch._tensor _rebuild_from_type_v2', 'ctypes CDLL'),
]


def _text(value: str) -> bytes:
    data = value.encode()
    return b'X' + len(data).to_bytes(4, 'little') + data


def _calls(target: str, marker: Path) -> Iterator[bytes]:
    """A call of ``target`` that would leave ``marker``, by every opcode that can make one."""
    module, name = target.split(' ')
    line, stacked = f'c{module}\n{name}\n'.encode(), _text(module) + _text(name) + b'\x93'
    for arguments in (
        _text(str(marker)),
        _text(str(marker)) + _text('w'),
        _text(f"__import__('os').mkdir({str(marker)!r})"),
        line + _text('__globals__'),
    ):
        for function in (line, stacked):
            yield function + b'(' + arguments + b'tR'
            yield function + b'(' + arguments + b't\x81'
            yield function + b'(' + arguments + b't}\x92'
            yield b'(' + function + arguments + b'o'
            yield function + b'(' + arguments + b'tb'
            yield function + b'0' + arguments + b'Q'
            wrapped = b'ctorch._tensor\n_rebuild_from_type_v2\n(' + function
            yield wrapped + b'ctorch\nTensor\n(' + arguments + b't}tR'
            yield (
                b'ccollections\nOrderedDict\n)R}('
                + _text('__reduce__')
                + function
                + b'ub'
                + function
                + b'('
                + arguments
                + b'tR'
            )
        yield b'(' + arguments + f'i{module}\n{name}\n'.encode()
    for code in (b'\x82\x01', b'\x83\x01\x00', b'\x84\x01\x00\x00\x00'):
        yield code + b'(' + _text(str(marker)) + b'tR'
    yield b'P' + str(marker).encode() + b'\n'


def _archive(path: Path, body: bytes, zipped: bool) -> None:
    if not zipped:
        with path.open('wb') as file:
            for value in (torch.serialization.MAGIC_NUMBER, 1001, {}):
                pickle.dump(value, file, protocol=2)
            file.write(body)
            pickle.dump([], file, protocol=2)
        return
    writer = torch._C.PyTorchFileWriter(str(path))
    writer.write_record('data.pkl', body, len(body))
    writer.write_record('byteorder', b'little', 6)
    writer.write_end_of_file()


@pytest.mark.parametrize('zipped', [True, False])
def test_pickles_that_call(tmp_path: Path, zipped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them are refused, and nothing that they name is run."""
    monkeypatch.setitem(copyreg._inverted_registry, 1, ('posix', 'mkdir'))
    path, marker, made, passed = tmp_path / 'a.pth', tmp_path / 'ran', 0, []
    for target in TARGETS:
        for call in _calls(target, marker):
            for head in (b'\x80\x02', b'\x80\x04'):
                _archive(path, head + b'}' + _text('a') + call + b's.', zipped)
                made += 1
                try:
                    require_plain(path)
                    passed.append((target, call))
                except LaunchError as error:
                    assert '\n' not in str(error)
                assert not marker.exists(), (target, call)
    for _, call in passed:  # the plain reading of torch and of the fork, where ours has let it go
        _archive(path, b'\x80\x02}' + _text('a') + call + b's.', zipped)
        _load_checkpoint(str(path), map_location='cpu', logger='silent')
        assert not marker.exists(), call
    print(f'pickles that call, zipped={zipped}: {made} made, {made - len(passed)} refused')
    assert passed == []


class _Attribute:
    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, self.arguments


def test_attributes_of_all_that_is_allowed(tmp_path: Path) -> None:
    """``getattr`` of every attribute of every type on the list gives a history's statistics."""
    compat.allow_own_checkpoints()
    path, made, passed = tmp_path / 'a.pth', 0, set()
    owners = [HistoryBuffer, slice, np.ndarray, np.dtype, torch.Tensor, torch.Size, dict, getattr]
    for owner in (*owners, HistoryBuffer.min, torch._utils._rebuild_tensor_v2):
        for name in dir(owner):
            torch.save(dict(a=_Attribute(owner, name)), path)
            made += 1
            try:
                require_plain(path)
                passed.add((owner, name))
            except LaunchError:
                pass
    print(f'attributes: {made} made, {made - len(passed)} refused')
    assert passed == {(HistoryBuffer, name) for name in ('min', 'max', 'mean', 'current')}
