"""The layout of the published scripts, which switch at the ends of whole epochs.

A segment is the part of a stage with one strength of augmentation. At cost c (see :mod:`.stages`)
a run of E epochs at full size is E / c epochs long; the scripts round that ruler down, let a
segment end at its share of the ruler, rounded down, and, where the cost changes, go on at the
rounded place on the next ruler. E = 200 gives 217 + 157 + 80 = 454 epochs with EfficientTrain++.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

from .stages import Schedule, Stage

Segment = tuple[int, int]
"""(start, end) on the ruler of its stage, in epochs."""


def segments(stages: Sequence[Stage], epochs: int) -> list[list[Segment]]:
    """The segments of every stage of a run that costs ``epochs`` epochs at full size."""
    found: list[list[Segment]] = []
    place, cost = 0, stages[0].cost
    for stage, end in zip(stages, accumulate(stage.share for stage in stages)):
        ruler = math.floor(epochs / stage.cost + 1e-9)
        place, cost = round(place * cost / stage.cost), stage.cost
        parts = len(stage.strength)
        found.append([])
        for part in range(parts):
            share = end - stage.share * (parts - 1 - part) / parts
            stop = math.floor(ruler * share + 1e-9)
            found[-1].append((place, stop))
            place = stop
    return found


def passes(stages: Sequence[Stage], epochs: int) -> list[int]:
    """Epochs of every stage, in passes of the data loader."""
    return [found[-1][1] - found[0][0] for found in segments(stages, epochs)]


def published_schedule(stages: Sequence[Stage], epochs: int, epoch_length: int) -> Schedule:
    """The layout in iterations, ``epoch_length`` of them in an epoch."""
    ends = accumulate(count * epoch_length for count in passes(stages, epochs))
    return Schedule(tuple(stages), tuple(ends))
