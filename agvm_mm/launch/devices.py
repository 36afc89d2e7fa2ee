"""The GPUs of a launch: which one a rank gets, and where ranks of Slurm meet."""

from __future__ import annotations

import os

import torch

from agvm_runs.checks import counted

from .errors import LaunchError
from .machine import VARIABLES

PORTS = range(15000, 30000)
"""Below the ports that systems give to outgoing connections."""


def prepare_devices(launcher: str) -> None:
    """Set what MMEngine reads of this rank's GPU and of the port, and check that the GPU is there.

    Raises:
        LaunchError: the machine has more ranks than GPUs.
    """
    if launcher == 'slurm':
        _choose_port()
        _take_only_device()
    if launcher != 'none' and torch.cuda.is_available():
        _require_device(VARIABLES[launcher][2])


def _choose_port() -> None:
    """A port for every job, because two jobs may share a node; a port that is set stays."""
    job = os.environ.get('SLURM_JOB_ID', '')
    if job.isdecimal():
        os.environ.setdefault('MASTER_PORT', str(PORTS[int(job) % len(PORTS)]))


def _take_only_device() -> None:
    """With ``--gpus-per-task=1`` a task sees its own GPU alone, which is then number 0."""
    if torch.cuda.device_count() == 1 and os.environ.get('SLURM_GPUS_PER_TASK', '').endswith('1'):
        os.environ['SLURM_LOCALID'] = os.environ['LOCAL_RANK'] = '0'


def _require_device(variable: str) -> None:
    rank = int(os.environ.get(variable, 0))
    devices = torch.cuda.device_count()
    if rank >= devices:
        raise LaunchError(
            f'{variable} is {rank} and this machine shows {counted(devices, "GPU")}, so that the '
            f'rank has none; start at most {counted(devices, "rank")} on it, show more GPUs in '
            'CUDA_VISIBLE_DEVICES, or set it to nothing to train on the CPU.'
        )
