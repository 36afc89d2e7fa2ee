"""``--amp``: mixed precision chosen on the command line."""

from __future__ import annotations

from mmengine.config import Config
from mmengine.device import get_device

from .errors import LaunchError
from .naming import type_name, with_type_name

AMP_OF = {
    'OptimWrapper': 'AmpOptimWrapper',
    'AGVMOptimWrapper': 'AGVMAmpOptimWrapper',
    'PartsOptimWrapper': 'PartsAmpOptimWrapper',
}


def require_gpu_for_amp(cfg: Config) -> None:
    """Stop where a config asks for mixed precision, which MMEngine has on GPUs alone.

    Raises:
        LaunchError: there is no GPU.
    """
    name = type_name(cfg.get('optim_wrapper'))
    for plain, mixed in AMP_OF.items():
        if name == mixed and get_device() == 'cpu':
            raise LaunchError(
                f'optim_wrapper.type={mixed!r} needs a GPU and none was found; allowed is '
                f'{plain!r}.'
            )


def enable_amp(cfg: Config) -> None:
    """Replace the optimizer wrapper by its mixed-precision form; one that has it is left as it is.

    Raises:
        LaunchError: the wrapper has no such form, or there is no GPU.
    """
    if get_device() == 'cpu':
        raise LaunchError('--amp needs a GPU and none was found: leave it out.')
    wrapper = cfg.optim_wrapper
    name = type_name(wrapper, default='OptimWrapper')
    if name in AMP_OF.values():
        return
    if name not in AMP_OF:
        allowed = ', '.join([*AMP_OF, *AMP_OF.values()])
        raise LaunchError(f'--amp cannot change optim_wrapper.type={name!r}; allowed is {allowed}.')
    wrapper['type'] = with_type_name(wrapper.get('type'), AMP_OF[name])
    wrapper.setdefault('loss_scale', 'dynamic')
