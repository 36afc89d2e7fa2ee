"""Every difference between the MMEngine stacks, and nothing else.

Two sets of distributions install the same packages: OpenMMLab's own (``mmengine``, ``mmcv``,
``mmdet``, ``mmsegmentation``) and the maintained fork (``onedl-mmengine`` and so on). What is there
is found out by import, never by the name of a distribution. MMEngine itself is imported inside the
functions: :func:`require_stack` has to speak before the first such import fails.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from importlib.util import find_spec
from pickle import UnpicklingError
from typing import Any

OLDEST_MMENGINE = (0, 10, 4)
INSTALL = (
    'install one of the two stacks, onedl-mmengine, onedl-mmcv, onedl-mmdetection and '
    'onedl-mmsegmentation, or mmengine, "mmcv>=2.1,<2.2", mmdet and mmsegmentation, mmcv first and '
    'with `pip install --no-build-isolation`, without which it is built without its operators; '
    "`pip install 'agvm_mm[mmengine]'` brings MMEngine alone"
)
GETATTR = 'builtins.getattr'
HISTORY_STATISTICS = ('min', 'max', 'current', 'mean')
DETECTION_SCOPES = ('mmdet', 'mmdet3d', 'mmrotate', 'mmyolo')


def require_stack() -> None:
    """Stop the import of agvm_mm where MMEngine is missing or too old.

    An MMEngine that is there but fails to import keeps its own error, which names the cause.

    Raises:
        ImportError: what is missing and what to install, in one sentence.
    """
    if not has_mmengine():
        raise ImportError(f'agvm_mm needs MMEngine, which is not installed: {INSTALL}.')
    from mmengine import __version__
    from mmengine.utils import digit_version

    if tuple(digit_version(__version__)[:3]) < OLDEST_MMENGINE:
        oldest = '.'.join(map(str, OLDEST_MMENGINE))
        raise ImportError(
            f'agvm_mm needs MMEngine {oldest} or later, found {__version__}: {INSTALL}.'
        )


def has_mmengine() -> bool:
    """Whether MMEngine is installed; ``attach`` and what it calls go without."""
    return find_spec('mmengine') is not None


def is_model_wrapper(model: object) -> bool:
    """Whether MMEngine knows ``model`` as a wrapper; nobody told it where it is not imported."""
    mmengine = sys.modules.get('mmengine.model')
    return mmengine is not None and mmengine.is_model_wrapper(model)


def register_optimizer(build: Any, name: str | None = None) -> Any:
    """Put a class or function into MMEngine's registry, if there is one, and return it."""
    if has_mmengine():
        from mmengine.registry import OPTIMIZERS

        OPTIMIZERS.register_module(name=name, module=build)
    return build


def say(text: str) -> None:
    """Write to the log of MMEngine's run, or to Python's logger where nobody uses MMEngine."""
    mmengine = sys.modules.get('mmengine.logging')
    if mmengine is None:
        logging.getLogger('agvm_mm').info(text)
    else:
        mmengine.print_log(text, logger='current')


def patch_config_packages() -> None:
    """Make ``agvm_mm::...`` a name of our configs, and ``_base_ = 'mmseg::...'`` work everywhere.

    MMEngine looks a package's configs up by the name of its distribution in a table of OpenMMLab's
    own packages: ``mmsegmentation`` for ``mmseg``, where the fork's is called otherwise; MMEngine
    does accept the package's own name. Entries whose distribution is absent while the package can
    be imported are changed, and ours is added. Importing agvm_mm calls it; as bases are resolved
    before ``custom_imports``, the import has to come before ``Config.fromfile``.

    MMEngine also gives every inherited type the package of its base as a scope. A recipe of ours
    consists of MMDetection's or MMSegmentation's types, so it keeps its ``default_scope``.
    """
    from mmengine.config import Config
    from mmengine.config.utils import MODULE2PACKAGE

    MODULE2PACKAGE['agvm_mm'] = 'agvm_mm'
    for module, distribution in MODULE2PACKAGE.items():
        if module != distribution and not _has_distribution(distribution) and _importable(module):
            MODULE2PACKAGE[module] = module
    path_and_scope = Config._get_cfg_path

    def path_and_foreign_scope(cfg_path: str, filename: str) -> tuple[str, str | None]:
        path, scope = path_and_scope(cfg_path, filename)
        return path, None if scope == 'agvm_mm' else scope

    Config._get_cfg_path = staticmethod(path_and_foreign_scope)


def allow_own_checkpoints() -> None:
    """Let this process read MMEngine's training checkpoints with torch 2.6 and later.

    Since 2.6 ``torch.load`` refuses every type outside an allow-list, and mmengine 0.10.7 calls it
    as before, so that resuming fails on the histories of its message hub. This adds the types that
    MMEngine writes to the allow-list; everything else stays refused. The fork has such a list of
    its own. Nothing calls this on import: the tools do, for the checkpoint that they were given.

    A history names its statistics by ``getattr``, which the fork allows as it is. Whoever may call
    it can reach any function, so it is taken off the list and :func:`_history_statistic` is read
    in its place.
    """
    import numpy as np
    import torch
    from mmengine.logging import HistoryBuffer
    from mmengine.utils import digit_version

    if digit_version(torch.__version__) < digit_version('2.6'):
        return
    core = 'numpy._core' if np.lib.NumpyVersion(np.__version__) >= '2.0.0' else 'numpy.core'
    multiarray = importlib.import_module(f'{core}.multiarray')
    # A file names numpy's internals as the numpy that wrote it called them.
    rebuilders = [
        (function, f'{package}.multiarray.{name}')
        for name in ('_reconstruct', 'scalar')
        for package in ('numpy._core', 'numpy.core')
        for function in [getattr(multiarray, name)]
    ]
    dtypes = {type(np.dtype(code)) for code in np.typecodes['AllInteger'] + '?efd'}
    own = [HistoryBuffer, slice, (_history_statistic, GETATTR), np.ndarray, np.dtype]
    others = [entry for entry in torch.serialization.get_safe_globals() if entry is not getattr]
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals([*others, *own, *dtypes, *rebuilders])


def _history_statistic(owner: Any, name: Any) -> Any:
    """What a checkpoint may look up by ``getattr``: a statistic of MMEngine's histories."""
    from mmengine.logging import HistoryBuffer

    if owner is not HistoryBuffer or type(name) is not str or name not in HISTORY_STATISTICS:
        raise UnpicklingError(f'{GETATTR} of anything but a statistic of HistoryBuffer')
    return getattr(HistoryBuffer, name)


def is_local_checkpoint(name: str) -> bool:
    """Whether MMEngine reads a checkpoint of that name from the local disk, as a path."""
    from mmengine.runner.checkpoint import CheckpointLoader, load_from_local

    loader: Any = CheckpointLoader._get_checkpoint_loader(name)
    return loader is load_from_local


def overlaps(group: Any) -> bool:
    """Whether collectives of a process group may run beside those of other groups in any order.

    Only gloo's may: groups of NCCL may wait for each other where ranks start their collectives in
    another order. A group that was made without a backend has one for every kind of device.
    """
    import torch.distributed as dist

    config = getattr(dist.distributed_c10d, 'get_backend_config', dist.get_backend)(group)
    return {part.split(':')[-1] for part in str(config).split(',')} == {'gloo'}


def group_timeout(group: Any) -> Any:
    """How long collectives of a process group wait, the longest of its backends.

    Where this torch does not tell, the default of new groups; None stands for it since torch 2.2.
    """
    import torch.distributed as dist

    default = inspect.signature(dist.new_group).parameters['timeout'].default
    devices = getattr(group, '_device_types', ())
    options = [getattr(group._get_backend(device), 'options', None) for device in devices]
    found = [getattr(option, '_timeout', None) for option in options]
    return max((timeout for timeout in found if timeout is not None), default=default)


def missing_ops_message(default_scope: str | None) -> str | None:
    """What to install for a config of ``default_scope``, in one sentence; None if all is there.

    MMDetection cannot be imported without mmcv's compiled operators. MMSegmentation can, and only
    a few of its models use them.
    """
    if default_scope not in DETECTION_SCOPES:
        return None
    if has_compiled_ops():
        return _missing_cuda_message(str(default_scope))
    return (
        f'default_scope={default_scope!r} needs mmcv with its compiled operators and `import '
        'mmcv._ext` fails: install an mmcv (or onedl-mmcv) wheel that was compiled for this torch, '
        'or build it from source with MMCV_WITH_OPS=1 set.'
    )


def _missing_cuda_message(default_scope: str) -> str | None:
    import torch
    from mmcv import _ext

    cuda = getattr(_ext, 'get_compiling_cuda_version', lambda: None)()
    if not torch.cuda.is_available() or cuda != 'not available':
        return None
    return (
        f'default_scope={default_scope!r} would train on the GPU of this machine and mmcv was '
        'built without its CUDA operators: build it from source with MMCV_WITH_OPS=1 and '
        'FORCE_CUDA=1 set, or set CUDA_VISIBLE_DEVICES to nothing to train on the CPU.'
    )


def has_compiled_ops() -> bool:
    """Whether mmcv is there with its operators."""
    try:
        importlib.import_module('mmcv._ext')
    except ImportError:
        return False
    return True


@contextmanager
def whole_float32() -> Iterator[None]:
    """Products of float32 matrices in float32 within it, where a run allows TF32 or bfloat16.

    Torch has a switch for every backend since 2.9, and refuses to read the one of all backends once
    they differ; before, it has that one alone. Torch 2.1 answers a question for the switch of one
    backend with an AssertionError.
    """
    import torch

    if hasattr(torch.backends, 'fp32_precision'):
        mkldnn: Any = torch.backends.mkldnn
        backends: list[Any] = [torch.backends.cuda.matmul, mkldnn.matmul]
        found = [backend.fp32_precision for backend in backends]
        for backend in backends:
            backend.fp32_precision = 'ieee'
        try:
            yield
        finally:
            for backend, precision in zip(backends, found):
                backend.fp32_precision = precision
    else:
        allowed = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision('highest')
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(allowed)


def _importable(module: str) -> bool:
    spec = find_spec(module)
    return spec is not None and spec.origin is not None


def _has_distribution(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True
