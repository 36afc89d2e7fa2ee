"""Which checkpoint a run starts from, and whether it may be loaded: it is whole, and runs no code.

A job that is killed while it writes leaves a truncated file, and a full disk a damaged one. torch
compares no checksum and trusts the list at the end of the archive: it leaves a record that the list
calls a directory as the memory happens to be. So every record must look as torch.save writes it,
stored and under a name of its own, and its size and checksum must agree. That takes one pass over
the file and no memory. Every rank looks, so every rank stops.

A pickle can also name any function to be called while it is read. torch's ``weights_only`` reading
refuses all but an allow-list; but the fork's MMEngine then reads the file without it, with a line
in the log, and its list has ``getattr``, by which a file reaches every function. torch before 2.6
has no such list. So the names are read first, which calls none, and then the file itself with the
list of :func:`agvm_mm.compat.allow_own_checkpoints`. That finds a tensor without its bytes too. The
file must be whole before that: nothing is suspected of a file that is no checkpoint at all.
"""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from pickle import UnpicklingError
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo
from zlib import crc32

import torch
from mmengine.config import Config

from agvm_runs.work_dir import type_name

from ..compat import GETATTR, allow_own_checkpoints, is_local_checkpoint
from .errors import LaunchError, Note

OPT_OUT = 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'  # torch's own variable
PICKLE_START = b'\x80'  # the format of torch before 1.6
ZIP_START = b'PK\x03\x04'
DIRECTORY = 0x10  # in a record's attributes
PLAIN_FLAGS = 0x0808  # a name in UTF-8, sizes after the content
CHUNK = 1 << 20
ONE_FILE = ('', 'SingleDeviceStrategy', 'DDPStrategy')
NUMBERED = re.compile(r'(?:iter|epoch)_(\d+)\.pth')


def choose_checkpoint(cfg: Config, resume: str | None) -> tuple[str | None, list[Note]]:
    """Enter ``--resume``: 'auto' for the latest of the work directory, a path, or None.

    Returns:
        The checkpoint that the run starts from, to resume or for its weights alone, or None. A
        warning if there is nothing to resume yet, so training starts as without ``--resume``.

    Raises:
        LaunchError: the work directory does not say which is its latest.
    """
    if resume not in (None, 'auto'):
        cfg.resume, cfg.load_from = True, resume
    # FlexibleRunner takes a path in `resume` itself.
    named: str | None = cfg.resume if isinstance(cfg.get('resume'), str) else cfg.get('load_from')
    if resume != 'auto' and (named is not None or not cfg.get('resume')):
        return named, []
    latest = _latest(Path(cfg.work_dir))
    if latest is not None:
        cfg.resume, cfg.load_from = True, None  # MMEngine finds the latest too
        return latest, []
    cfg.resume, weights = False, cfg.get('load_from')
    start = f'training from load_from={weights}' if weights else 'training from scratch'
    text = f'Nothing to resume in {cfg.work_dir} (no last_checkpoint): {start}.'
    return weights, [Note(text, logging.WARNING)]


def check_checkpoint(cfg: Config, checkpoint: str, where: str) -> None:
    """Stop where the chosen checkpoint cannot be loaded.

    Args:
        cfg: the config of the run.
        checkpoint: see :func:`choose_checkpoint`.
        where: what names it where nothing is resumed, for the message.

    Raises:
        LaunchError: it is missing, damaged or not safe; for one to resume the message says which
            is the latest whole one in the work directory.
    """
    directory = type_name(cfg.get('strategy')) not in ONE_FILE  # DeepSpeed's and FSDP's
    if not cfg.get('resume'):
        require_plain(checkpoint, where, directory)
        return
    problem = find_damage(checkpoint, directory)
    if problem:
        advice = _advice(Path(cfg.work_dir), Path(checkpoint))
        name = checkpoint or repr('')
        raise LaunchError(f'{name} cannot be resumed from: {problem}; {advice}.')
    refuse_foreign(checkpoint, '--resume')


def require_plain(
    checkpoint: str | Path, where: str = '--checkpoint', directory: bool = False
) -> None:
    """Stop where a local checkpoint is missing, damaged or refused by :func:`refuse_foreign`.

    Args:
        checkpoint: a path; a URL is left to MMEngine.
        where: what names it, for the message.
        directory: whether it may be one, see :func:`find_damage`.

    Raises:
        LaunchError: it is not to be loaded; says why.
    """
    problem = find_damage(checkpoint, directory)
    if problem:
        raise _unusable(checkpoint, problem, where)
    refuse_foreign(checkpoint, where)


def refuse_foreign(checkpoint: str | Path, where: str) -> None:
    """Stop where a whole checkpoint holds more than numbers, text and MMEngine's own histories.

    A URL and a directory are left to MMEngine; so is every file with torch before 2.6, or with
    :data:`OPT_OUT` set.

    Raises:
        LaunchError: it does, the first function or class is named; or torch cannot read it.
    """
    if os.environ.get(OPT_OUT, '0').lower() in ('1', 'y', 'yes', 'true'):
        return
    path = os.path.expanduser(checkpoint)
    if not is_local_checkpoint(str(checkpoint)) or not os.path.isfile(path):
        return
    if not hasattr(torch.serialization, 'get_unsafe_globals_in_checkpoint'):
        return
    allow_own_checkpoints()
    try:
        found = _foreign(path)
    except Exception as error:  # the file may hold any bytes, and torch checks none
        raise _unusable(path, 'torch cannot read it as one', where) from error
    if found is not None:
        raise LaunchError(
            f'{path} is not loaded, as it holds {found}, and whoever wrote the file may run code '
            f'that way; if you trust them, set {OPT_OUT}=1 in the environment.'
        )


def find_damage(checkpoint: str | Path, directory: bool = False) -> str | None:
    """What is wrong with a checkpoint, in a few words; None if it is whole.

    What is in a remote store and a file in torch's old format pass unread.

    Args:
        checkpoint: a path or a URL.
        directory: whether it may be a directory, which passes unread.
    """
    if not is_local_checkpoint(str(checkpoint)):  # MMEngine's file client knows it
        return None
    path = os.path.expanduser(checkpoint)
    if os.path.isdir(path):
        return None if directory else 'it is a directory'
    if not os.path.isfile(path):
        return 'there is no such file'
    try:
        with open(path, 'rb') as file:
            start = file.read(len(ZIP_START))
    except OSError as error:
        return f'it cannot be read ({error.strerror})'
    if start.startswith(PICKLE_START):
        return None
    if start != ZIP_START:
        return 'it is empty' if not start else 'it is no checkpoint of torch'
    return _damaged_record(path)


def _latest(work_dir: Path) -> str | None:
    """The checkpoint that MMEngine would resume from."""
    pointer = work_dir / 'last_checkpoint'
    if not pointer.is_file():
        return None
    name = pointer.read_text().strip()
    if not name:  # killed, or the disk full, between the checkpoint and its name
        raise LaunchError(f'{pointer} is empty; {_advice(work_dir, pointer)}.')
    return name


def _advice(work_dir: Path, refused: Path) -> str:
    """Where to go on from instead."""
    previous = _latest_whole(work_dir, refused)
    if previous is None:
        return f'{work_dir} has no other whole checkpoint'
    return f'the latest whole checkpoint before it is {previous}, give it as --resume {previous}'


def _latest_whole(work_dir: Path, refused: Path) -> Path | None:
    numbered = [(NUMBERED.fullmatch(path.name), path) for path in work_dir.glob('*.pth')]
    newest_first = sorted(
        ((int(match[1]), path) for match, path in numbered if match and path.name != refused.name),
        reverse=True,
    )
    return next((path for _, path in newest_first if find_damage(path) is None), None)


def _damaged_record(path: str) -> str | None:
    """What is wrong with the archive, in a few words; None if it is whole."""
    try:
        with ZipFile(path) as archive:
            names: set[str] = set()
            for record in archive.infolist():
                name = record.filename.lower()  # torch finds a record in either case
                if name in names or not _is_whole(archive, record):
                    return f'its record {record.filename} is damaged'
                names.add(name)
    except OSError as error:
        return f'it cannot be read ({error.strerror})'
    except Exception:  # zipfile documents no list of what it raises for damaged bytes
        return 'it is truncated or damaged'
    return None


def _is_whole(archive: ZipFile, record: ZipInfo) -> bool:
    if record.external_attr & DIRECTORY or record.flag_bits & ~PLAIN_FLAGS:
        return False
    if record.compress_type != ZIP_STORED or record.compress_size != record.file_size:
        return False
    size = checksum = 0
    try:
        with archive.open(record) as content:
            while chunk := content.read(CHUNK):
                size, checksum = size + len(chunk), crc32(chunk, checksum)
    except BadZipFile:
        return False
    return size == record.file_size and checksum == record.CRC


def _unusable(checkpoint: str | Path, problem: str, where: str) -> LaunchError:
    return LaunchError(
        f'{str(checkpoint) or repr("")} cannot be loaded: {problem}; allowed is a whole checkpoint '
        f'that torch.save wrote, set in {where}.'
    )


def _foreign(path: str) -> str | None:
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        if names:
            return min(names)
    except ValueError:  # the format of torch before 1.6, whose names are not to be had alone
        pass
    try:
        torch.load(path, map_location='cpu', weights_only=True)
    except UnpicklingError as error:
        if 'Unsupported operand' in str(error):  # no pickle of torch's, and no function in it
            raise
        unnamed = 'a function or class that torch does not know as safe'
        return GETATTR if GETATTR in str(error) else unnamed
    return None
