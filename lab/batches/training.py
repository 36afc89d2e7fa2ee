"""One run of the benchmark: a fixed number of images, warm-up and cosine, scores on the way."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.optim import CosineAnnealingLR, LinearLR, OptimWrapper, build_optim_wrapper
from torch import nn

import agvm_mm  # noqa: F401  registers the wrappers

from .images import Images, stream
from .methods import wrapper_config
from .tasks import SCENES, Task

WARMUP = 0.1
POINTS = 8


@dataclass(frozen=True)
class Run:
    """What a result depends on.

    Args:
        method: see :func:`.methods.split_name`.
        batch: images of an update, a multiple of the task's micro-batch.
        images: of the whole run, a multiple of the batch.
        rate: learning rate.
        seed: of weights and order.
        others: multiplier of the rate of everything but the backbone.
        task: of :data:`.tasks.TASKS`.
    """

    method: str
    batch: int
    images: int
    rate: float
    seed: int
    others: float = 1.0
    task: str = SCENES

    @property
    def updates(self) -> int:
        """Optimizer updates."""
        return self.images // self.batch

    @property
    def warmup(self) -> int:
        """Updates of warm-up; the last of them has the full rate."""
        return max(2, round(WARMUP * self.updates))


def train(run: Run, task: Task, data: Images, val: Images) -> dict[str, Any]:
    """Train a model and return what a result file holds.

    It is evaluated :data:`POINTS` times. A run whose loss is not finite ends there, with a score
    of 0.

    Args:
        run: see there.
        task: that ``run`` names.
        data: to train on.
        val: to evaluate on.
    """
    model = task.build_model(run.seed)
    passes = run.batch // task.micro
    wrapper, schedulers = _prepare(run, task.micro, model)
    batches = stream(data, task.micro, run.seed)
    torch.manual_seed(run.seed)
    marks = {round(run.updates * (i + 1) / POINTS) for i in range(POINTS)}
    losses: list[list[float]] = []
    curve: list[list[float]] = []
    scores: Mapping[str, float] = {task.key: 0.0}
    spent = seconds = 0.0
    for update in range(1, run.updates + 1):
        cpu, wall = time.process_time(), time.monotonic()
        loss = sum(_pass(model, wrapper, next(batches)) for _ in range(passes)) / passes
        for scheduler in schedulers:
            scheduler.step()
        spent += time.process_time() - cpu
        seconds += time.monotonic() - wall
        losses.append([update * run.batch, loss])
        if not math.isfinite(loss):
            break
        if update in marks:
            scores = task.evaluate(model, val)
            curve.append([update * run.batch, round(spent, 2), round(scores[task.key], 3)])
    finite = math.isfinite(losses[-1][1])
    return dict(
        method=run.method,
        batch=run.batch,
        images=run.images,
        rate=run.rate,
        seed=run.seed,
        task=run.task,
        others=run.others,
        torch=torch.__version__,
        scores=dict(scores) if finite else {task.key: 0.0},
        finite=finite,
        seconds=round(seconds, 1),
        cpu_seconds=round(spent, 1),
        load=round(os.getloadavg()[0], 1),
        curve=curve,
        loss=_thin(losses),
    )


def _prepare(run: Run, micro: int, model: nn.Module) -> tuple[OptimWrapper, list[Any]]:
    passes = run.batch // micro
    rest = [name for name, child in model.named_children() if name != 'backbone']
    rest = [name for name in rest if any(True for _ in model.get_submodule(name).parameters())]
    config = wrapper_config(run.method, run.rate, run.batch, run.warmup, run.others, rest, micro)
    wrapper = build_optim_wrapper(model, dict(config, accumulative_counts=passes))
    wrapper.initialize_count_status(model, 0, run.updates * passes)
    begin, end = run.warmup, run.updates
    schedulers: list[Any] = [LinearLR(wrapper, start_factor=0.05, end=begin, by_epoch=False)]
    if end > begin:
        schedulers.append(
            CosineAnnealingLR(wrapper, T_max=end - begin, begin=begin, end=end, by_epoch=False)
        )
    return wrapper, schedulers


def _pass(model: Any, wrapper: OptimWrapper, images: Images) -> float:
    loss: float = model.train_step(images.as_data(), wrapper)['loss'].item()
    return loss


def _thin(losses: list[list[float]], most: int = 64) -> list[list[float]]:
    """Means over equal stretches, at most ``most`` points: images, loss."""
    length = math.ceil(len(losses) / most)
    stretches = [losses[i : i + length] for i in range(0, len(losses), length)]
    return [
        [int(one[-1][0]), float(f'{sum(loss for _, loss in one) / len(one):.5g}')]
        for one in stretches
    ]
