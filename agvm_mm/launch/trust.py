"""A checkpoint is somebody else's file: what it holds is looked at before it is loaded.

A pickle can name any function to be called while it is read. torch's ``weights_only`` reading
refuses all but an allow-list; but the fork's MMEngine then reads the file without it, with a line
in the log, and torch before 2.6 knows no such list. So the names are read first, which calls none.
"""

from __future__ import annotations

import os
from pathlib import Path
from pickle import UnpicklingError

import torch

from ..compat import allow_own_checkpoints
from .errors import LaunchError

OPT_OUT = 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'


def require_plain(checkpoint: str | Path) -> None:
    """Stop where a local checkpoint holds more than numbers, text and MMEngine's own histories.

    A URL, a directory and a missing file are left to MMEngine; so is every file with torch before
    2.6, and where the user has set :data:`OPT_OUT`, torch's own variable.

    Raises:
        LaunchError: it does; names the first function or class.
    """
    if os.environ.get(OPT_OUT, '0').lower() in ('1', 'y', 'yes', 'true'):
        return
    path = Path(checkpoint)
    if not path.is_file() or not hasattr(torch.serialization, 'get_unsafe_globals_in_checkpoint'):
        return
    allow_own_checkpoints()
    found = _foreign(path)
    if found is not None:
        raise LaunchError(
            f'{path} is not loaded, as it holds {found}, and whoever wrote the file may run code '
            f'that way; if you trust them, set {OPT_OUT}=1 in the environment.'
        )


def _foreign(path: Path) -> str | None:
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        return min(names, default=None)
    except ValueError:  # the format of torch before 1.6, whose names are not to be had alone
        try:
            torch.load(path, map_location='cpu', weights_only=True)
        except UnpicklingError:
            return 'a function or class that torch does not know as safe'
    return None
