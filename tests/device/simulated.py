"""The simulated device as a device of torch, in a process that has run no backward pass yet."""

from __future__ import annotations

import importlib.util
import types
from typing import Any

import sync_batch_norm
import torch
import torch.distributed as dist
from build import NAME, library
from torch._C._distributed_c10d import _create_work_from_future

DEVICE = 'simulated'
GLOO = 'simulated_gloo'


def register() -> None:
    """Give torch the device; for good, since autograd makes its threads for it once."""
    spec = importlib.util.spec_from_file_location(NAME, library())
    assert spec is not None and spec.loader is not None
    extension = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(extension)
    torch.utils.rename_privateuse1_backend(DEVICE)
    module = _module(extension)
    torch._register_device_module(DEVICE, module)
    extension.register()
    module.kernels = sync_batch_norm.register()
    dist.Backend.register_backend(GLOO, _Gloo, devices=['cpu', DEVICE])


def _module(extension: Any) -> types.ModuleType:
    """What torch expects under ``torch.simulated``."""
    module = types.ModuleType(f'torch.{DEVICE}')
    constants = dict(
        is_available=True,
        is_initialized=True,
        _is_in_bad_fork=False,
        device_count=1,
        current_device=0,
        get_amp_supported_dtype=[torch.float16, torch.bfloat16],
        manual_seed_all=None,
        set_rng_state=None,
        synchronize=None,
    )
    for name, value in constants.items():
        setattr(module, name, lambda *_, value=value: value)
    module.get_rng_state = lambda *_: torch.get_rng_state()
    module.extension = extension
    return module


class _Gloo(dist.ProcessGroup):
    """Gloo on the memory of the simulated device; every collective is finished when it returns."""

    def __init__(self, store: Any, rank: int, size: int, timeout: Any) -> None:
        super().__init__(rank, size)
        self._gloo = dist.ProcessGroupGloo(store, rank, size, timeout)

    def getBackendName(self) -> str:  # noqa: N802
        return GLOO

    def allreduce(self, tensors: Any, opts: Any = None) -> Any:
        return self._run('allreduce', tensors, opts)

    def broadcast(self, tensors: Any, opts: Any = None) -> Any:
        return self._run('broadcast', tensors, opts)

    def reduce(self, tensors: Any, opts: Any = None) -> Any:
        return self._run('reduce', tensors, opts)

    def allgather(self, outputs: Any, tensors: Any, opts: Any = None) -> Any:
        host = torch.simulated.extension.on_host
        gathered = [[host(tensor) for tensor in output] for output in outputs]
        self._gloo.allgather(gathered, [host(tensor) for tensor in tensors]).wait()
        return _done(outputs)

    def _allgather_base(self, output: Any, tensor: Any, opts: Any = None) -> Any:
        self.allgather([list(output.view(self.size(), *tensor.shape).unbind())], [tensor])
        return _done(output)

    all_gather_single = _allgather_base  # its name in newer versions

    def barrier(self, opts: Any = None) -> Any:
        return self._gloo.barrier()

    def _run(self, name: str, tensors: Any, opts: Any) -> Any:
        host = [torch.simulated.extension.on_host(tensor) for tensor in tensors]
        getattr(self._gloo, name)(host, *([] if opts is None else [opts])).wait()
        return _done(tensors)


def _done(result: Any) -> Any:
    future: Any = torch.futures.Future()
    future.set_result(result)
    return _create_work_from_future(future)
