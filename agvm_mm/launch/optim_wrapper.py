"""What a config's ``optim_wrapper`` asks for is checked before data and model are built."""

from __future__ import annotations

import inspect

from mmengine.registry import OPTIM_WRAPPERS

from agvm_runs.checks import require_known
from agvm_runs.work_dir import SCOPE

from ..loop.held import STEP_ORDER
from ..optimizers.library import require_registered
from ..wrappers import PartsMixin
from .errors import LaunchError, Note
from .record import Launch

NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


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
    """Refuse an unknown key and a wrong option of a part, whose rules are numbers by now.

    A wrapper that is registered with a child of MMEngine's registry alone says it when it is built.

    Raises:
        LaunchError: names the key, the value and what is allowed.
    """
    options = launch.cfg.get('optim_wrapper') or {}
    kind = options.get('type')
    found = OPTIM_WRAPPERS.get(kind) if isinstance(kind, str) else kind
    if isinstance(found, type) and issubclass(found, PartsMixin):
        try:
            if found.__init__ is PartsMixin.__init__:  # another one may take keys of its own
                given = {key: options[key] for key in options if key != SCOPE}
                require_known(given, known_keys(found), 'optim_wrapper')
            found.parts_of(options)
        except ValueError as error:
            raise LaunchError(str(error)) from None
    return []


def known_keys(wrapper: type[PartsMixin]) -> list[str]:
    """What a config may set: MMEngine's own keys, those of the parts and of the constructors."""
    keys = dict.fromkeys(['type', 'constructor', 'paramwise_cfg', 'optimizer'])
    keys.update(dict.fromkeys(kind.key for kind in STEP_ORDER))
    for constructor in [vars(kind).get('__init__') for kind in wrapper.__mro__]:
        named = inspect.signature(constructor).parameters.values() if constructor else ()
        keys.update(dict.fromkeys(one.name for one in named if one.kind in NAMED))
    keys.pop('self')
    return list(keys)
