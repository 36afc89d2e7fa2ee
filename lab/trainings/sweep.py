"""Many short trainings on one machine, some at a time."""

from __future__ import annotations

import multiprocessing
import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from agvm_mm.launch.errors import LaunchError
from agvm_mm.launch.runner import TrainOptions, build_runner, load_config, prepare_training


@dataclass(frozen=True, eq=False)
class Training:
    """One training in a process of its own.

    Args:
        config: path of the config.
        work_dir: work directory; standard output goes to ``output.txt`` in it.
        seed: random seed.
        cfg_options: as ``--cfg-options`` of tools/train.py.
    """

    config: Path
    work_dir: Path
    seed: int
    cfg_options: dict[str, Any] = field(default_factory=dict)


def run_all(trainings: Iterable[Training], workers: int) -> Iterator[tuple[Training, int]]:
    """Train, ``workers`` at a time; yields every training with its exit code when it has ended.

    On a machine with GPUs they are shared out among the workers.

    The processes are new ones with as many threads as this one: a fork of a process that has used
    a GPU cannot use it. They are ended when the caller stops asking.

    Raises:
        LaunchError: ``workers`` is below 1.
    """
    if workers < 1:
        raise LaunchError(
            f'{workers} trainings at a time were asked for; allowed is a whole number, at least 1.'
        )
    return _run_all(iter(trainings), workers)


def _run_all(waiting: Iterator[Training], workers: int) -> Iterator[tuple[Training, int]]:
    running: dict[BaseProcess, Training] = {}
    places: dict[BaseProcess, int] = {}
    devices = visible_devices()
    try:
        while True:
            while len(running) < workers and (training := next(waiting, None)) is not None:
                place = min(set(range(workers)) - {places[process] for process in running})
                process = _start(training, devices[place % len(devices)] if devices else None)
                running[process], places[process] = training, place
            if not running:
                return
            wait([process.sentinel for process in running])
            for process in [one for one in running if one.exitcode is not None]:
                yield running.pop(process), int(process.exitcode or 0)
    finally:
        for process in running:
            process.terminate()


def visible_devices() -> list[str]:
    """The GPUs of this process, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get('CUDA_VISIBLE_DEVICES')
    if named is None:
        return [str(device) for device in range(torch.cuda.device_count())]
    return [device.strip() for device in named.split(',') if device.strip()]


def _start(training: Training, device: str | None) -> BaseProcess:
    training.work_dir.mkdir(parents=True, exist_ok=True)
    process = multiprocessing.get_context('spawn').Process(
        target=_train, args=(training, torch.get_num_threads(), device)
    )
    process.start()
    return process


def _train(training: Training, threads: int, device: str | None) -> None:
    if device is not None:
        os.environ['CUDA_VISIBLE_DEVICES'] = device
    output = os.open(training.work_dir / 'output.txt', os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, sys.stdout.fileno())
    os.dup2(output, sys.stderr.fileno())
    try:
        torch.set_num_threads(threads)
        cfg = load_config(
            str(training.config), 'none', str(training.work_dir), dict(training.cfg_options)
        )
        notes = prepare_training(cfg, TrainOptions(seed=training.seed))
        build_runner(cfg, notes).train()
    except Exception:
        traceback.print_exc()
        raise SystemExit(1) from None
