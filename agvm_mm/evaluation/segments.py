"""The segments of an image and which of two sets of them are the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


class Segments(NamedTuple):
    """Segments that do not overlap.

    Attributes:
        number: Number of a pixel's segment from 1, 0 where void; shape (height, width).
        labels: Class of each segment, shape (segments,).
        crowd: Whether a segment is a group of objects that were not told apart, shape (segments,).
    """

    number: Integers
    labels: Integers
    crowd: NDArray[np.bool_]

    @classmethod
    def from_ids(
        cls, ids: Integers, known: Sequence[int], labels: Sequence[int], crowd: Sequence[bool]
    ) -> Segments:
        """Number the segments of a map of ids.

        Args:
            ids: Id of each pixel, shape (height, width).
            known: Ids of the segments; pixels of any other id are void.
            labels: Class of each known id.
            crowd: Whether a known id is a crowd.
        """
        number_of = {name: number for number, name in enumerate(known, start=1)}
        values, inverse = np.unique(ids, return_inverse=True)
        table = np.array([number_of.get(value, 0) for value in values.tolist()], dtype=np.int64)
        number = table[inverse].reshape(ids.shape)
        return cls(number, np.array(labels, dtype=np.int64), np.array(crowd, dtype=np.bool_))


def count_matches(truth: Segments, predicted: Segments, classes: int) -> NDArray[np.float64]:
    """Match the segments of one image and count hits and errors of every class.

    Two segments of one class match if ``|g n p| / (|g| + |p| - |g n p| - |p n void|) > 1/2``, which
    at most one pair of each segment fulfils; void is that of the truth. A crowd of the truth is
    neither matched nor missed. A prediction is no error if more than half of it lies on void or on
    crowds of its class.

    Args:
        truth: Annotated segments.
        predicted: Predicted segments.
        classes: Number of classes.

    Returns:
        Sum of IoU, TP, FP and FN of every class, shape (4, classes).

    References:
        Kirillov et al., "Panoptic segmentation", CVPR 2019, section 4; crowds as COCO counts them.
    """
    area = _overlap(truth, predicted)
    common, on_void = area[1:, 1:], area[0, 1:]
    true_area, predicted_area = area[1:].sum(axis=1), area[:, 1:].sum(axis=0)
    union = true_area[:, None] + predicted_area - common - on_void
    iou = common / np.maximum(union, 1)
    same = truth.labels[:, None] == predicted.labels
    match = same & ~truth.crowd[:, None] & (iou > 0.5)
    missed = ~match.any(axis=1) & ~truth.crowd
    on_crowd = np.where(same & truth.crowd[:, None], common, 0).sum(axis=0)
    false = ~match.any(axis=0) & (2 * (on_void + on_crowd) <= predicted_area)
    hit = match.any(axis=1)

    def per_class(labels: Integers, weights: NDArray[np.float64] | None = None) -> Integers:
        return np.bincount(labels, weights, minlength=classes)

    return np.array(
        [
            per_class(truth.labels, np.where(match, iou, 0.0).sum(axis=1)),
            per_class(truth.labels[hit]),
            per_class(predicted.labels[false]),
            per_class(truth.labels[missed]),
        ],
        dtype=np.float64,
    )


def _overlap(truth: Segments, predicted: Segments) -> Integers:
    """Common pixels of each two segments, void first; shape (true + 1, predicted + 1)."""
    rows, columns = len(truth.labels) + 1, len(predicted.labels) + 1
    pairs = truth.number * columns + predicted.number
    return np.bincount(pairs.ravel(), minlength=rows * columns).reshape(rows, columns)
