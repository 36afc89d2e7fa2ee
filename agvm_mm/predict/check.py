"""Prediction against measurement at many times the batch, on weights that stand still."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from agvm_runs.predictions.window import Window

from ..statistics.precision import ratio_of_means
from .gradients import GradientSource
from .stream import block_estimates, parts
from .window import summarise


@dataclass(frozen=True)
class Measured:
    """Phi at one batch.

    Args:
        batch: images.
        blocks: estimates that were averaged, each from its own images.
        phi: (M,).
        error: standard error over the blocks, (M,); NaN for one block.
    """

    batch: int
    blocks: int
    phi: Tensor
    error: Tensor


def check(
    source: GradientSource, samples: int, estimates: int, multiples: Sequence[int], blocks: int
) -> tuple[Window, list[Measured]]:
    """Measure the small batch and its multiples; no gradient serves both.

    A block begins a new epoch, so that no image comes twice in it while the data last, as in
    training.

    Args:
        source: the model and its data; its weights stay.
        samples: N of the small batch.
        estimates: how many small batches.
        multiples: of the small batch.
        blocks: estimates at the largest multiple; smaller ones get as many as fit.

    Returns:
        The small batch's window, from which one predicts, and what the multiples measured.
    """
    partition, images = source.partition, source.images
    small = block_estimates(source.gradients(estimates * samples), partition, [samples])[samples]
    levels = sorted(multiple * samples for multiple in multiples)
    found = block_estimates(_epochs(source, levels[-1], blocks), partition, levels)
    measured = [
        Measured(level * images, len(found[level]), *ratio_of_means(*parts(found[level])))
        for level in levels
    ]
    return summarise(small, images=samples * images), measured


def _epochs(source: GradientSource, count: int, blocks: int) -> Iterator[list[Tensor]]:
    for _ in range(blocks):
        source.restart()
        yield from source.gradients(count)
