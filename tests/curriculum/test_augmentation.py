"""Strength reaches the transforms, wherever they are."""

from __future__ import annotations

import pickle
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from agvm_mm.compat import has_compiled_ops
from agvm_mm.curriculum.augmentation import GrowingAugment, find_augments


class Count:
    """Has no level."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, results: Any) -> Any:
        self.calls += 1
        return results


class Levelled(Count):
    level = None


def test_a_level_gets_the_strength_and_others_are_applied_as_often() -> None:
    np.random.seed(0)
    levelled, other = Levelled(), Count()
    augment = GrowingAugment([levelled, other])
    for strength, low, high in ((0, 0, 0), (3, 250, 350), (10, 1000, 1000)):
        levelled.calls = other.calls = 0
        augment.strength = strength
        for _ in range(1000):
            augment({})
        assert levelled.calls == (1000 if strength else 0)
        assert low <= other.calls <= high
    assert levelled.level == 10


def test_a_transform_that_asks_for_another_image_is_the_last() -> None:
    """As mmdet's FilterAnnotations does where no object is left; the dataset draws again."""
    before, after = Count(), Count()
    augment = GrowingAugment([before, lambda results: results['image'] and results, after])
    augment.strength = 10
    assert augment(dict(image=None)) is None
    assert (before.calls, after.calls) == (1, 0)
    assert augment(dict(image=1)) == dict(image=1)
    assert (before.calls, after.calls) == (2, 1)


def test_a_copy_in_another_process_shares_the_strength() -> None:
    """As a spawned loader process gets it."""
    from multiprocessing.reduction import ForkingPickler

    import torch.multiprocessing  # noqa: F401  teaches the pickler shared tensors

    augment = GrowingAugment([Levelled()])
    copy = pickle.loads(ForkingPickler.dumps(augment))
    augment.strength = 7
    assert copy.strength == 7


def test_found_in_wrapped_datasets() -> None:
    a, b = GrowingAugment([]), GrowingAugment([])
    leaf = SimpleNamespace(pipeline=SimpleNamespace(transforms=[Count(), a]))
    inner = SimpleNamespace(datasets=[leaf, SimpleNamespace()])
    outer = SimpleNamespace(dataset=inner, pipeline=[b])
    assert find_augments(outer) == [b, a]
    assert find_augments(SimpleNamespace()) == []


@pytest.mark.skipif(not has_compiled_ops(), reason='mmdet needs the ops of mmcv')
def test_mmdet_randaugment_grows() -> None:
    import mmdet.datasets.transforms  # noqa: F401  registers

    augment = GrowingAugment(
        [dict(type='mmdet.RandAugment', aug_num=1, aug_space=[[dict(type='mmdet.Brightness')]])]
    )
    image = np.full((8, 8, 3), 100, np.uint8)
    changes = []
    for strength in (0, 2, 9):
        augment.strength = strength
        np.random.seed(1)
        changes.append(abs(int(augment(dict(img=image.copy()))['img'][0, 0, 0]) - 100))
    assert changes[0] == 0 and 0 < changes[1] < changes[2]
