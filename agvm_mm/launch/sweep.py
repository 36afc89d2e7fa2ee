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

from .runner import TrainOptions, build_runner, load_config, prepare_training


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

    The processes are forks of this one, so that the packages are imported once. They are ended
    when the caller stops asking.
    """
    waiting = iter(trainings)
    running: dict[BaseProcess, Training] = {}
    try:
        while True:
            while len(running) < workers and (training := next(waiting, None)) is not None:
                running[_start(training)] = training
            if not running:
                return
            wait([process.sentinel for process in running])
            for process in [one for one in running if one.exitcode is not None]:
                yield running.pop(process), int(process.exitcode or 0)
    finally:
        for process in running:
            process.terminate()


def _start(training: Training) -> BaseProcess:
    training.work_dir.mkdir(parents=True, exist_ok=True)
    process = multiprocessing.get_context('fork').Process(target=_train, args=(training,))
    process.start()
    return process


def _train(training: Training) -> None:
    output = os.open(training.work_dir / 'output.txt', os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, sys.stdout.fileno())
    os.dup2(output, sys.stderr.fileno())
    try:
        cfg = load_config(
            str(training.config), 'none', str(training.work_dir), dict(training.cfg_options)
        )
        notes = prepare_training(cfg, TrainOptions(seed=training.seed))
        build_runner(cfg, notes).train()
    except Exception:
        traceback.print_exc()
        raise SystemExit(1) from None
