"""The tasks of the benchmark: images, a model and a score."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import nn

from .pretrained import DETECTOR, SEGMENTER, box_scores, build_model, load
from .scenes import load_scenes
from .segmenter import build_model as build_tiny
from .segmenter import evaluate


@dataclass(frozen=True)
class Task:
    """What does not depend on the method and the batch.

    Args:
        key: of the score that is compared, in percent.
        micro: images of a micro-batch, at every batch.
        batches, images: of the command, by default.
        load: the images to train and to validate on; see :class:`.images.Images`.
        build_model: the model of a seed, in training mode.
        evaluate: scores of a model on images; leaves the model in training mode.
        rates: first rates at batch 32 that differ from those of :data:`.methods.METHODS`.
    """

    key: str
    micro: int
    batches: tuple[int, ...]
    images: int
    load: Callable[[], tuple[Any, Any]]
    build_model: Callable[[int], nn.Module]
    evaluate: Callable[[nn.Module, Any], Mapping[str, float]]
    rates: Mapping[str, float] = field(default_factory=dict)


TASKS: Mapping[str, Task] = {
    'scenes': Task('mIoU', 32, (32, 128, 512, 2048), 131072, load_scenes, build_tiny, evaluate),
    'bccd': Task(
        'AP',
        8,
        (8, 32, 128),
        2048,
        partial(load, DETECTOR),
        partial(build_model, DETECTOR),
        box_scores,
        {'sgd': 0.04, 'kfac-heads-sgd': 0.02},
    ),
    'camvid': Task(
        'mIoU',
        8,
        (8, 32, 128),
        2048,
        partial(load, SEGMENTER),
        partial(build_model, SEGMENTER),
        partial(evaluate, classes=11),
    ),
}
SCENES = 'scenes'
