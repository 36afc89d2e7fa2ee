"""A figure of somebody else, with where it stands and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

Place = tuple[str, str, int]
"""Model, method, batch."""


class Source(Enum):
    """Where a figure was read; only the last is not the authors' own text."""

    README = "the authors' README (mmdet 2)"
    PAGE = "the paper's project page (May 2022)"
    ABSTRACT = "the paper's abstract"
    PAPER = "the paper's text"
    SECONDARY = 'secondary source'

    @property
    def published(self) -> bool:
        """Whether the authors' own words give the figure."""
        return self is not Source.SECONDARY


@dataclass(frozen=True)
class Figure:
    """A score, or what happened where there is none.

    Args:
        value: the score in the unit of its table, or None.
        source: where it was read.
        outcome: what is told of a run without a score, as 'NaN'.
    """

    value: float | None
    source: Source
    outcome: str = ''

    def __str__(self) -> str:
        return self.outcome if self.value is None else f'{self.value:.1f}'


@dataclass(frozen=True)
class Duration:
    """A training time that somebody else measured.

    Args:
        text: the time with its unit.
        hardware: the machine.
        source: where it was read.
    """

    text: str
    hardware: str
    source: str
