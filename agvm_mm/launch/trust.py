"""A checkpoint is somebody else's file: what it holds is looked at before it is loaded.

A pickle can name any function to be called while it is read. torch's ``weights_only`` reading
refuses all but an allow-list; but the fork's MMEngine then reads the file without it, with a line
in the log, and its list has ``getattr``, by which a file reaches every function. torch before 2.6
knows no such list. So the names are read first, which calls none, and then the file itself with
the list of :func:`agvm_mm.compat.allow_own_checkpoints`. That finds a tensor without its bytes too.
Before that the file must be whole: what is no checkpoint at all is not suspected of anything.
"""

from __future__ import annotations

import os
from pathlib import Path
from pickle import UnpicklingError

import torch

from ..compat import GETATTR, allow_own_checkpoints, is_local_checkpoint
from .errors import LaunchError
from .resume import find_damage

OPT_OUT = 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'


def require_plain(
    checkpoint: str | Path, where: str = '--checkpoint', directory: bool = False
) -> None:
    """Stop where a local checkpoint is missing or damaged, or :func:`refuse_foreign` does.

    Args:
        checkpoint: a path; a URL is left to MMEngine.
        where: what has named it, for the sentence.
        directory: whether it may be one, see :func:`agvm_mm.launch.resume.find_damage`.

    Raises:
        LaunchError: it is not to be loaded; says why.
    """
    problem = find_damage(checkpoint, directory)
    if problem:
        raise _unusable(checkpoint, problem, where)
    refuse_foreign(checkpoint, where)


def refuse_foreign(checkpoint: str | Path, where: str) -> None:
    """Stop where a whole checkpoint holds more than numbers, text and MMEngine's own histories.

    A URL and a directory are left to MMEngine; so is every file with torch before 2.6, and where
    the user has set :data:`OPT_OUT`, torch's own variable.

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
    except Exception as error:  # any bytes may stand there, and torch checks none
        raise _unusable(path, 'torch cannot read it as one', where) from error
    if found is not None:
        raise LaunchError(
            f'{path} is not loaded, as it holds {found}, and whoever wrote the file may run code '
            f'that way; if you trust them, set {OPT_OUT}=1 in the environment.'
        )


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
