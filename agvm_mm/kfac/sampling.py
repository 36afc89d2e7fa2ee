"""Which positions of a convolution's inputs count, when not all of them do.

Every r-th row and column from a drawn first one, so that only these are unfolded. Each position is
drawn with the probability 1 / r^2 and weighs r^2, so that the expectation of the sum is the whole
sum. The draw follows from the update and the layer, and is the same for all images of an update:
so neither ranks, nor micro-batches, nor a resume change it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from random import Random


@dataclass(frozen=True)
class Grid:
    """Every ``step``-th position in both directions.

    Args:
        step: r, 1 for all.
        row: first.
        column: first.
    """

    step: int = 1
    row: int = 0
    column: int = 0

    @property
    def weight(self) -> float:
        """Of a position, the inverse of its probability."""
        return float(self.step**2)


EVERY = Grid()


def draw_grid(height: int, width: int, limit: int | None, seed: str) -> Grid:
    """A grid of about ``limit`` of ``height`` x ``width`` positions, no fewer on average.

    Args:
        height: rows of positions.
        width: columns.
        limit: None for all.
        seed: of the draw.
    """
    if limit is None or height * width <= limit:
        return EVERY
    # A step over the side would leave grids without a position.
    step = min(isqrt(height * width // limit), height, width)
    if step == 1:
        return EVERY
    drawn = Random(f'{seed} {step}')
    return Grid(step, drawn.randrange(step), drawn.randrange(step))
