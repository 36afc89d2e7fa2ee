"""AGVM: large-batch training of detectors and segmenters, in MMEngine or any PyTorch loop.

Where MMEngine is installed, importing the package registers every component with its root
registries::

    custom_imports = dict(imports=['agvm_mm'], allow_failed_imports=False)
    optim_wrapper = dict(type='AGVMOptimWrapper', ...)

Any other loop calls :func:`attach`, which needs torch and NumPy alone.
"""

from typing import Any

from .compat import has_mmengine, patch_config_packages, require_stack

if has_mmengine():
    require_stack()
    patch_config_packages()
    # They register on import.
    from . import curriculum, evaluation, hooks, models, schedulers, wrappers  # noqa: F401
    from .wrappers import (  # noqa: F401
        AGVMAmpOptimWrapper,
        AGVMOptimWrapper,
        PartsAmpOptimWrapper,
        PartsOptimWrapper,
    )

from . import optimizers  # noqa: E402
from .loop import Handle, attach  # noqa: E402
from .parts import AGVMSettings  # noqa: E402
from .version import __version__  # noqa: E402

_WITH_MMENGINE = [
    'AGVMAmpOptimWrapper',
    'AGVMOptimWrapper',
    'PartsAmpOptimWrapper',
    'PartsOptimWrapper',
    'curriculum',
    'evaluation',
    'hooks',
    'models',
    'schedulers',
    'wrappers',
]
__all__ = ['AGVMSettings', 'Handle', '__version__', 'attach', 'optimizers']
if has_mmengine():
    __all__ += _WITH_MMENGINE


def __getattr__(name: str) -> Any:
    """Say what is missing of a name that needs MMEngine."""
    if name in _WITH_MMENGINE:
        require_stack()
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
