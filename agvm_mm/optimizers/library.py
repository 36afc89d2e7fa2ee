"""Where LARS, Adan and SOAP come from.

They and LAMB are registered as ``LARSOptimizer``, ``AdanOptimizer``, ``LAMBOptimizer``: the bare
names may already be taken in MMEngine's registry (bitsandbytes brings its ``LARS`` and ``LAMB``).
None of them clips, which belongs to ``optim_wrapper.clip_grad``; all leave ``p.grad`` as it was.
"""

from __future__ import annotations

from types import ModuleType


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
