"""AGVM for MMEngine: large-batch training of detectors and segmenters.

Importing the package registers every component with MMEngine's root registries::

    custom_imports = dict(imports=['agvm_mm'], allow_failed_imports=False)
    optim_wrapper = dict(type='AGVMOptimWrapper', ...)
"""

from .compat import patch_config_packages, require_stack

require_stack()
patch_config_packages()

from . import (  # noqa: E402  registers on import
    curriculum,
    evaluation,
    hooks,
    models,
    optimizers,
    schedulers,
    wrappers,
)
from .parts import AGVMSettings  # noqa: E402
from .version import __version__  # noqa: E402
from .wrappers import (  # noqa: E402
    AGVMAmpOptimWrapper,
    AGVMOptimWrapper,
    PartsAmpOptimWrapper,
    PartsOptimWrapper,
)

__all__ = [
    'AGVMAmpOptimWrapper',
    'AGVMOptimWrapper',
    'AGVMSettings',
    'PartsAmpOptimWrapper',
    'PartsOptimWrapper',
    '__version__',
    'curriculum',
    'evaluation',
    'hooks',
    'models',
    'optimizers',
    'schedulers',
    'wrappers',
]
