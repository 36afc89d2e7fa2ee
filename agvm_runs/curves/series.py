"""Columns of numbers over iterations, and as much of them as a screen can show."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

COLUMNS = 800  # of pixels, more than any panel is wide
LARGEST = 1e100  # beyond, the arithmetic of axes overflows

Row = tuple[Any, ...]
"""(iteration, value, ...)."""


class Series(Sequence[Row]):
    """Rows in order of iteration, kept in arrays; equal to the list of its rows.

    Args:
        steps: iterations, ascending, (n,).
        columns: their values, (n,) each.
    """

    def __init__(self, steps: ArrayLike, *columns: ArrayLike) -> None:
        self.steps: NDArray[np.int64] = np.asarray(steps, np.int64)
        self.columns: tuple[NDArray[np.float64], ...] = tuple(
            np.asarray(column, np.float64) for column in columns
        )

    @classmethod
    def of(cls, curve: Iterable[tuple[int, float]]) -> Series:
        """A series of one column from its points."""
        points = list(curve)
        return cls([step for step, _ in points], [value for _, value in points])

    @property
    def values(self) -> NDArray[np.float64]:
        """The first column."""
        return self.columns[0]

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[Row]:
        return zip(self.steps.tolist(), *(column.tolist() for column in self.columns))

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> Series: ...

    def __getitem__(self, index: int | slice) -> Row | Series:
        if isinstance(index, slice):
            return Series(self.steps[index], *(column[index] for column in self.columns))
        return (int(self.steps[index]), *(float(column[index]) for column in self.columns))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def at(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        """The first column at ``steps``; NaN where there is none."""
        found = np.full(len(steps), np.nan)
        if len(self):
            place = np.searchsorted(self.steps, steps).clip(max=len(self) - 1)
            there = self.steps[place] == steps
            found[there] = self.values[place[there]]
        return found


class Recorder:
    """Collects points of several curves, by name, in 16 bytes each."""

    def __init__(self) -> None:
        self._points: dict[Any, tuple[array[int], array[float]]] = {}

    def add(self, name: Any, step: int, value: float) -> None:
        """One point."""
        if name not in self._points:
            self._points[name] = array('q'), array('d')
        steps, values = self._points[name]
        steps.append(step)
        values.append(value)

    def series(self) -> dict[Any, Series]:
        """The curves by name, in order of iteration; of equal iterations the later point counts."""
        found = {}
        for name, (steps, values) in self._points.items():
            order = np.argsort(np.asarray(steps), kind='stable')
            ordered = np.asarray(steps)[order]
            last = np.append(ordered[1:] != ordered[:-1], True)
            found[name] = Series(ordered[last], np.asarray(values)[order][last])
        return found


def thin(curve: Series) -> Series:
    """What a screen shows of a curve: the least and the greatest value of every pixel column."""
    values = _drawable(curve.values)
    if len(curve) <= 2 * COLUMNS:
        return Series(curve.steps, values)
    starts = _starts(curve.steps)
    both = np.stack([np.fmin.reduceat(values, starts), np.fmax.reduceat(values, starts)], 1)
    kept = np.ones(both.shape, bool)
    kept[:, 1] = both[:, 0] != both[:, 1]
    return Series(np.repeat(curve.steps[starts], 2)[kept.ravel()], both.ravel()[kept.ravel()])


def envelope(band: Series) -> Series:
    """What a screen shows of a band: the lowest and the highest end of every pixel column."""
    low, high = map(_drawable, band.columns)
    if len(band) <= 2 * COLUMNS:
        return Series(band.steps, low, high)
    starts = _starts(band.steps)
    return Series(band.steps[starts], np.fmin.reduceat(low, starts), np.fmax.reduceat(high, starts))


def _drawable(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """A gap where a value is not finite or too large for an axis."""
    return np.where(np.abs(values) < LARGEST, values, np.nan)


def _starts(steps: NDArray[np.int64]) -> NDArray[np.intp]:
    """Where the pixel columns begin."""
    width = float(steps[-1] - steps[0]) / COLUMNS
    return np.flatnonzero(np.diff(np.floor((steps - steps[0]) / width), prepend=-1.0))
