"""Which checkpoint a run starts from, and is it whole?

A job that is killed while it writes leaves a truncated file, and a full disk a damaged one. Torch
finds out late and says it badly, and does not compare checksums at all. Both are looked for before
anything is built (see :mod:`.archive`). Every rank looks, so that every rank stops.
"""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

from mmengine.config import Config

from ..compat import is_local_checkpoint
from .archive import ZIP_START, damaged_record
from .errors import LaunchError, Note
from .naming import type_name

PICKLE_START = b'\x80'  # the format of torch before 1.6
ONE_FILE = ('', 'SingleDeviceStrategy', 'DDPStrategy')
NUMBERED = re.compile(r'(?:iter|epoch)_(\d+)\.pth')


def set_resume(cfg: Config, resume: str | None) -> list[Note]:
    """Enter ``--resume``: 'auto' for the latest of the work directory, a path, or None.

    Returns:
        A warning where there is no latest one yet and training starts as without the flag.
    """
    if resume == 'auto' and _latest(Path(cfg.work_dir)) is None:
        return [_start(cfg)]
    if resume is not None:
        cfg.resume = True
        cfg.load_from = None if resume == 'auto' else resume
    return []


def chosen_checkpoint(cfg: Config) -> str | None:
    """The checkpoint that a run starts from, to resume or for its weights alone; None if none."""
    # FlexibleRunner takes a path in `resume` itself.
    named: str | None = cfg.resume if isinstance(cfg.get('resume'), str) else cfg.get('load_from')
    if named is None and cfg.get('resume'):
        return _latest(Path(cfg.work_dir))
    return named


def takes_directory(cfg: Config) -> bool:
    """Whether a checkpoint of this run may be a directory, as DeepSpeed's and FSDP's are."""
    return type_name(cfg.get('strategy')) not in ONE_FILE


def check_resume(cfg: Config) -> list[Note]:
    """Make sure that the checkpoint to resume from, if any, can be.

    Returns:
        A warning where there is none yet and training starts from scratch.

    Raises:
        LaunchError: it is missing, damaged or not named; says which is the latest whole one of the
            work directory.
    """
    if not cfg.get('resume'):
        return []
    name = chosen_checkpoint(cfg)
    if name is None:
        return [_start(cfg)]
    problem = find_damage(name, takes_directory(cfg))
    if problem:
        advice = _advice(Path(cfg.work_dir), Path(name))
        raise LaunchError(f'{name or repr("")} cannot be resumed from: {problem}; {advice}.')
    return []


def _start(cfg: Config) -> Note:
    """Start a run that has nothing to resume, from the config's weights if it names some."""
    cfg.resume = False
    weights = cfg.get('load_from')
    start = 'training from scratch' if not weights else f'training from load_from={weights}'
    text = f'Nothing to resume in {cfg.work_dir} (no last_checkpoint): {start}.'
    return Note(text, logging.WARNING)


def find_damage(checkpoint: str | Path, directory: bool = False) -> str | None:
    """What is wrong with a checkpoint, in a few words; None if it is whole.

    What is in a remote store and a file in torch's old format pass unread.

    Args:
        checkpoint: a path or a URL.
        directory: whether it may be a directory, which passes unread, see :func:`takes_directory`.
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
    return damaged_record(path)


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
