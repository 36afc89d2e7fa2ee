"""The machine of a launch: how many ranks it starts, and whether it has a GPU.

MMEngine has mixed precision on GPUs only, and cannot start DDP without one: its ``init_dist``
selects a CUDA device, and its ``wrap_model`` passes that device on to DDP. Here gloo is initialised
before the Runner is built, which then leaves the process group alone, and the model wrapper is told
that there is no device.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import torch.distributed as dist
from mmengine.config import Config
from mmengine.device import get_device

from agvm_runs.work_dir import type_name

from .errors import LaunchError, Note

# Where each launcher says how many ranks there are, which one this is and where on its machine.
VARIABLES = {
    'pytorch': ('WORLD_SIZE', 'RANK', 'LOCAL_RANK'),
    'slurm': ('SLURM_NTASKS', 'SLURM_PROCID', 'SLURM_LOCALID'),
    'mpi': ('OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_LOCAL_RANK'),
}
LOOPBACK = ('127.0.0.1', 'localhost')
AMP_OF = {
    'OptimWrapper': 'AmpOptimWrapper',
    'AGVMOptimWrapper': 'AGVMAmpOptimWrapper',
    'PartsOptimWrapper': 'PartsAmpOptimWrapper',
}
SYNC_BN = ('SyncBN', 'MMSyncBN', 'SyncBatchNorm')
SELF_SYNCED = ('RTMDet',)  # convert every BN themselves on several ranks, unless told otherwise


def count_ranks(launcher: str) -> int:
    """Ranks of this launch, read from what the launcher left in the environment.

    Raises:
        LaunchError: the process was not started by that launcher.
    """
    if launcher == 'none':
        return 1
    name = VARIABLES[launcher][0]
    if name not in os.environ:
        raise LaunchError(
            f'--launcher {launcher} was given but {name} is not in the environment: start through '
            'tools/dist_train.sh or tools/slurm_train.sh, or leave --launcher out.'
        )
    return int(os.environ[name])


def rank_of(launcher: str) -> int:
    """The rank of this process in a launch that :func:`count_ranks` knows."""
    return 0 if launcher == 'none' else int(os.environ.get(VARIABLES[launcher][1], 0))


def set_local_rank(launcher: str, local_rank: int) -> None:
    """Fill LOCAL_RANK, which MMEngine reads whatever the launcher; one that is set is kept."""
    if 'LOCAL_RANK' not in os.environ:
        name = VARIABLES[launcher][2] if launcher != 'none' else ''
        os.environ['LOCAL_RANK'] = os.environ.get(name, str(local_rank))


def require_gpu_for_amp(cfg: Config) -> None:
    """Stop where a config asks for mixed precision and there is no GPU.

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
    wrapper['type'] = _under_scope_of(wrapper.get('type'), AMP_OF[name])
    wrapper.setdefault('loss_scale', 'dynamic')


def prepare_cpu(cfg: Config) -> list[Note]:
    """On a machine without a GPU start gloo and change what a config needs changed there.

    SyncBN, which exists on GPUs only, becomes BN. The model wrapper gets ``device_ids=None``; keys
    that the user set in ``model_wrapper_cfg`` (FlexibleRunner: ``strategy.model_wrapper``) stay.
    """
    if get_device() != 'cpu' or cfg.get('launcher', 'none') == 'none':
        return []
    notes = _replace_sync_bn(cfg)
    _set_model_wrapper(cfg)
    _start_gloo(cfg)
    return notes


def _under_scope_of(kind: Any, name: str) -> str:
    """``name`` under the scope prefix, if any, of the type ``kind``."""
    scope = kind.rpartition('.')[0] if isinstance(kind, str) else ''
    return f'{scope}.{name}' if scope else name


def _replace_sync_bn(cfg: Config) -> list[Note]:
    replaced = sum(_replace_in(value) for value in cfg.values())
    if cfg.get('sync_bn') is not None:
        cfg.sync_bn = None
        replaced += 1
    if not replaced:
        return []
    text = 'No GPU: SyncBN, which needs one, becomes BN, whose statistics are those of one rank.'
    return [Note(text, logging.WARNING)]


def _replace_in(node: Any) -> int:
    """Turn every SyncBN dict under ``node`` into BN, stop models that convert; count both."""
    if isinstance(node, dict):
        found = type_name(node) in SYNC_BN
        if found:
            node['type'] = 'BN'
        converts = type_name(node) in SELF_SYNCED and node.get('use_syncbn', True)
        if converts:
            node['use_syncbn'] = False
        return found + bool(converts) + sum(_replace_in(value) for value in node.values())
    return sum(map(_replace_in, node)) if isinstance(node, (list, tuple)) else 0


def _set_model_wrapper(cfg: Config) -> None:
    flexible = cfg.get('runner_type') is not None and _is_flexible(cfg.runner_type)
    strategy = cfg.get('strategy') or dict(type='DDPStrategy')
    if flexible and type_name(strategy) != 'DDPStrategy':
        return
    given = strategy.get('model_wrapper') if flexible else cfg.get('model_wrapper_cfg')
    wrapper: dict[str, Any] = dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
    wrapper.update(given or {})
    wrapper['device_ids'] = None
    if flexible:
        cfg.strategy = {**strategy, 'model_wrapper': wrapper}
    else:
        cfg.model_wrapper_cfg = wrapper


def _is_flexible(runner_type: Any) -> bool:
    return type_name({'type': runner_type}) == 'FlexibleRunner'


def _start_gloo(cfg: Config) -> None:
    if dist.is_initialized():
        return
    _set_rendezvous(cfg.launcher)
    local = os.environ['MASTER_ADDR'] in LOOPBACK
    if local:
        # Else gloo takes the interface of the host's name, which need not resolve.
        os.environ.setdefault('GLOO_SOCKET_IFNAME', 'lo0' if sys.platform == 'darwin' else 'lo')
    settings: Mapping[str, Any] = (cfg.get('env_cfg') or {}).get('dist_cfg') or {}
    timeout = settings.get('timeout')
    # torch 2.1 refuses None.
    limit: dict[str, Any] = {} if timeout is None else dict(timeout=timedelta(seconds=timeout))
    if local and os.environ.get('TORCHELASTIC_USE_AGENT_STORE') != 'True':
        rank, ranks = int(os.environ['RANK']), int(os.environ['WORLD_SIZE'])
        store = _loopback_store(rank, ranks)
        dist.init_process_group('gloo', store=store, rank=rank, world_size=ranks, **limit)
    else:
        dist.init_process_group('gloo', **limit)


def _loopback_store(rank: int, ranks: int) -> Any:
    """What ``env://`` would make, but for rank 0, whose store would listen on every interface."""
    port = int(os.environ['MASTER_PORT'])
    listening = socket.create_server(('127.0.0.1', port)).detach() if rank == 0 else None
    store: Any = dist.TCPStore  # type: ignore[attr-defined]
    return store('127.0.0.1', port, ranks, rank == 0, master_listen_fd=listening)


def _set_rendezvous(launcher: str) -> None:
    """Give torch the variables that torchrun sets, from those of the other launchers."""
    for name, source in zip(('WORLD_SIZE', 'RANK', 'LOCAL_RANK'), VARIABLES[launcher]):
        if source not in os.environ:
            raise LaunchError(f'--launcher {launcher} was given but {source} is not set.')
        os.environ[name] = os.environ[source]
    os.environ.setdefault('MASTER_PORT', '29500')
    if 'MASTER_ADDR' not in os.environ:
        os.environ['MASTER_ADDR'] = _first_host(launcher)


def _first_host(launcher: str) -> str:
    if launcher != 'slurm':
        raise LaunchError(f'--launcher {launcher} needs MASTER_ADDR, the address of rank 0.')
    command = ['scontrol', 'show', 'hostname', os.environ['SLURM_NODELIST']]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[0]
