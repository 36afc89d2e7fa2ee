"""Matching of segments, on rows of pixels that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from agvm_mm.evaluation.segments import Segments, count_matches

CLASSES = 3


def row(pixels: list[int], labels: dict[int, int], crowds: tuple[int, ...] = ()) -> Segments:
    """One row of pixels; ``labels`` gives the class of each id, any other id is void."""
    return Segments.from_ids(
        np.array([pixels]),
        list(labels),
        list(labels.values()),
        [name in crowds for name in labels],
    )


def counts(truth: Segments, predicted: Segments) -> list[list[float]]:
    """Sum of IoU, TP, FP and FN of each class."""
    return count_matches(truth, predicted, CLASSES).T.tolist()


NOTHING = [0, 0, 0, 0]


def test_segments_are_matched_whatever_their_ids() -> None:
    truth = row([7, 7, 7, 7, 7, 7, 9, 9, 9, 9], {7: 0, 9: 2})
    predicted = row([1, 1, 1, 1, 2, 2, 2, 2, 2, 2], {1: 0, 2: 2})
    assert counts(truth, predicted) == [
        [pytest.approx(4 / 6), 1, 0, 0],
        NOTHING,
        [pytest.approx(4 / 6), 1, 0, 0],
    ]


def test_two_objects_of_a_class_are_two() -> None:
    truth = row([1, 1, 1, 1, 2, 2, 2, 2], {1: 0, 2: 0})
    predicted = row([5, 5, 5, 5, 6, 6, 6, 6], {5: 0, 6: 0})
    assert counts(truth, predicted)[0] == [2, 2, 0, 0]
    merged = row([5] * 8, {5: 0})
    assert counts(truth, merged)[0] == [0, 0, 1, 2]


def test_half_is_not_enough() -> None:
    truth = row([1, 1, 1, 1, 2, 2], {1: 0, 2: 1})
    predicted = row([5, 5, 6, 6, 6, 6], {5: 0, 6: 1})
    assert counts(truth, predicted) == [[0, 0, 1, 1], [0, 0, 1, 1], NOTHING]


def test_another_class_is_an_error_of_both() -> None:
    assert counts(row([1, 1], {1: 0}), row([1, 1], {1: 1})) == [[0, 0, 0, 1], [0, 0, 1, 0], NOTHING]


def test_void_of_the_truth_is_left_out_of_the_union() -> None:
    truth = row([1, 1, 1, 0, 0, 0, 0], {1: 0})
    assert counts(truth, row([5, 5, 5, 5, 5, 5, 5], {5: 0}))[0] == [1, 1, 0, 0]


def test_a_prediction_mostly_on_void_is_no_error() -> None:
    truth = row([0, 0, 0, 2, 2, 2, 2, 2, 2], {2: 1})
    assert counts(truth, row([5, 5, 5, 5, 5, 6, 6, 6, 6], {5: 0, 6: 1}))[0] == [0, 0, 0, 0]
    assert counts(truth, row([0, 5, 5, 5, 5, 6, 6, 6, 6], {5: 0, 6: 1}))[0] == [0, 0, 1, 0]


def test_void_of_the_prediction_is_counted_against_it() -> None:
    truth = row([1, 1, 1, 1], {1: 0})
    assert counts(truth, row([0, 0, 0, 0], {}))[0] == [0, 0, 0, 1]
    assert counts(truth, row([5, 5, 5, 0], {5: 0}))[0] == [pytest.approx(3 / 4), 1, 0, 0]


def test_a_crowd_is_neither_matched_nor_missed() -> None:
    truth = row([1, 1, 1, 1, 2, 2], {1: 0, 2: 1}, crowds=(1,))
    perfect = row([5, 5, 5, 5, 6, 6], {5: 0, 6: 1})
    assert counts(truth, perfect) == [[0, 0, 0, 0], [1, 1, 0, 0], NOTHING]
    other_class = row([5, 5, 5, 5, 6, 6], {5: 2, 6: 1})
    assert counts(truth, other_class)[2] == [0, 0, 1, 0]


def test_an_image_without_segments_counts_nothing() -> None:
    empty = row([0, 0], {})
    assert counts(empty, empty) == [NOTHING] * CLASSES


def test_every_object_is_one_of_the_counts() -> None:
    """TP + FN are the segments of the truth, TP + FP the predicted ones, where nothing is void."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        truth, predicted = (rng.integers(1, 7, (5, 6)) for _ in range(2))
        labels = {name: name % CLASSES for name in range(1, 7)}
        names = [np.unique(ids).tolist() for ids in (truth, predicted)]
        first, second = (
            Segments.from_ids(ids, known, [labels[name] for name in known], [False] * len(known))
            for ids, known in zip((truth, predicted), names)
        )
        _, hits, false, missed = count_matches(first, second, CLASSES).sum(axis=1)
        assert (hits + missed, hits + false) == (len(names[0]), len(names[1]))
