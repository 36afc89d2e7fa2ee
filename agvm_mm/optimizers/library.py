"""Where LARS, Adan and SOAP come from.

They and LAMB are registered as ``LARSOptimizer``, ``AdanOptimizer``, ``LAMBOptimizer``: the bare
names may already be taken in MMEngine's registry (bitsandbytes brings its ``LARS`` and ``LAMB``) or
be taken later. A bare name that nobody has registered is answered with the right one.
None of them clips, which belongs to ``optim_wrapper.clip_grad``; all leave ``p.grad`` as it was.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch


def require_registered(optimizer: Any, scope: str | None) -> None:
    """Refuse the bare name of one of our optimizers in a config if nobody has registered it.

    torch's own ``Muon``, which MMEngine registers, steps matrices alone and fits no detector.

    Args:
        optimizer: ``optim_wrapper.optimizer.type``.
        scope: ``default_scope`` of the config.

    Raises:
        ValueError: names the right one. MMEngine says "None is not a callable object".
    """
    from mmengine.registry import OPTIMIZERS

    ours = OPTIMIZERS.module_dict.get(f'{optimizer}Optimizer')
    if ours is None or not ours.__module__.startswith('agvm_mm.'):
        return
    with OPTIMIZERS.switch_scope_and_registry(scope) as registry:
        found = registry.get(optimizer)
    if optimizer == 'Muon' and found is getattr(torch.optim, 'Muon', None):
        raise ValueError(
            "optim_wrapper.optimizer.type is 'Muon', which steps matrices alone; set it to "
            "'MuonOptimizer', the one of agvm_mm, with "
            "optim_wrapper.constructor='MuonOptimWrapperConstructor'."
        )
    if found is None:
        raise ValueError(
            f'optim_wrapper.optimizer.type is {optimizer!r}, which is not registered; set it '
            f'to {optimizer + "Optimizer"!r}, the one of agvm_mm.'
        )


def import_library(wanted_by: str) -> ModuleType:
    """pytorch_optimizer, for the optimizer of this registered name.

    Raises:
        ImportError: If it is not installed.
    """
    try:
        import pytorch_optimizer
    except ImportError as error:
        raise ImportError(
            f"optimizer type='{wanted_by}' needs pytorch_optimizer; install it with "
            "`pip install 'pytorch_optimizer>=4.1'`."
        ) from error
    library: ModuleType = pytorch_optimizer
    return library
