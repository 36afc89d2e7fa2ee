"""What a config's ``optim_wrapper`` asks for is checked before data and model are built."""

from __future__ import annotations

from mmengine.registry import OPTIM_WRAPPERS

from ..optimizers.library import require_registered
from ..wrappers import PartsMixin
from .errors import LaunchError, Note
from .record import Launch


def check_optimizer(launch: Launch) -> list[Note]:
    """Refuse the bare name of one of our optimizers.

    Raises:
        LaunchError: names the right one.
    """
    optimizer = (launch.cfg.get('optim_wrapper') or {}).get('optimizer') or {}
    try:
        require_registered(optimizer.get('type'), launch.cfg.get('default_scope'))
    except ValueError as error:
        raise LaunchError(str(error)) from None
    return []


def check_parts(launch: Launch) -> list[Note]:
    """Refuse a wrong option of a part, whose rules are numbers by now.

    A wrapper that is registered with a child of MMEngine's registry alone says it when it is built.

    Raises:
        LaunchError: names the key, the value and what is allowed.
    """
    options = launch.cfg.get('optim_wrapper') or {}
    kind = options.get('type')
    found = OPTIM_WRAPPERS.get(kind) if isinstance(kind, str) else kind
    if isinstance(found, type) and issubclass(found, PartsMixin):
        try:
            found.parts_of(options)
        except ValueError as error:
            raise LaunchError(str(error)) from None
    return []
