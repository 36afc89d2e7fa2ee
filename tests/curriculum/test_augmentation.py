"""Strength reaches the transforms, wherever they are."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from agvm_mm.compat import has_compiled_ops
from agvm_mm.curriculum.augmentation import GrowingAugment, set_strength


@pytest.fixture(autouse=True)
def _no_strength_is_left() -> Iterator[None]:
    yield
    set_strength(0)


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


def test_one_strength_wherever_the_transforms_are() -> None:
    """Built before and after it is set, copied, and held by what no walk over a dataset finds."""
    before = GrowingAugment([Levelled()])
    set_strength(7)
    after, hidden = GrowingAugment([Levelled()]), copy.deepcopy(before)
    assert [augment.strength for augment in (before, after, hidden)] == [7, 7, 7]
    before.strength = 2
    assert [augment.strength for augment in (before, after, hidden)] == [2, 2, 2]


def test_a_dataset_that_is_copied_shares_the_strength() -> None:
    """As ``get_subset`` copies one, and MultiImageMixDataset an image."""
    augment = copy.deepcopy(copy.deepcopy(GrowingAugment([Levelled()])))
    set_strength(4)
    assert augment.strength == 4


class Holder:
    """Holds transforms in ways of its own."""

    def __init__(self, **parts: Any) -> None:
        self.__dict__.update(parts)

    def __call__(self, results: Any) -> Any:
        return results


def test_levels_are_found_however_deep() -> None:
    one, two, three = Levelled(), Levelled(), Levelled()
    inner = Holder(transforms=Holder(transforms=[one]))  # RandomApply holds a Compose
    branches = Holder(branch_pipelines=dict(sup=Holder(transforms=(two,))))  # as MultiBranch
    inner.loop = inner
    augment = GrowingAugment([inner, branches, three])
    augment.strength = 6
    augment({})
    assert [part.level for part in (one, two, three)] == [6, 6, 6]


@pytest.mark.parametrize('name', ['get_indexes', 'get_indices'])
class TestMixing:
    """A data set asks a transform which images it mixes in, by mmdet's name or mmseg's."""

    class Mix(Count):
        def __init__(self, name: str, number: int, first: int) -> None:
            super().__init__()
            self.number, self.first = number, first
            found = range(first, first + number)
            setattr(self, name, lambda dataset: found[0] if number == 1 else list(found))

        def __call__(self, results: Any) -> Any:
            assert results['mix_results'] == list(range(self.first, self.first + self.number))
            return super().__call__(results)

    class Plain(Count):
        def __call__(self, results: Any) -> Any:
            assert 'mix_results' not in results
            return super().__call__(results)

    def test_each_gets_its_own_images(self, name: str) -> None:
        four, one, plain = self.Mix(name, 4, 10), self.Mix(name, 1, 20), self.Plain()
        augment = GrowingAugment([GrowingAugment([four]), plain, one])
        np.random.seed(0)
        for strength, low, high in ((0, 0, 0), (5, 70, 130), (10, 200, 200)):
            augment.strength = strength
            counts = [part.calls for part in (four, plain, one)]
            for _ in range(200):
                indexes = getattr(augment, name)(None)
                augment.strength = 10  # may change before the transform is called
                for _ in range(2):  # mmdet calls again where a transform returns None
                    assert augment(dict(mix_results=list(indexes))) == {}
                augment.strength = strength
            calls = [part.calls - count for part, count in zip((four, plain, one), counts)]
            assert all(low * 2 <= number <= high * 2 for number in calls[1:])
            assert calls[0] <= high * 2 and (strength < 10 or calls[0] == 400)

    def test_without_such_transforms_no_image_is_asked_for(self, name: str) -> None:
        assert not hasattr(GrowingAugment([Count()]), name)
        other = 'get_indices' if name == 'get_indexes' else 'get_indexes'
        assert not hasattr(GrowingAugment([self.Mix(name, 1, 0)]), other)


@pytest.mark.parametrize('wrong', [dict(type='Count'), 3, None, 'RandomFlip', ['RandomFlip']])
def test_what_is_no_list_of_transforms_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r'GrowingAugment.transforms is .*; allowed is a list of'):
        GrowingAugment(wrong)


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


@pytest.mark.skipif(not has_compiled_ops(), reason='mmdet needs the ops of mmcv')
def test_mmdet_mosaic_and_mixup_grow() -> None:
    """At strength 0 the image, at 10 always a mosaic of twice the size, mixed up."""
    from mmdet.datasets import BaseDetDataset, MultiImageMixDataset
    from mmdet.structures.bbox import HorizontalBoxes

    class Squares(BaseDetDataset):
        def load_data_list(self) -> list[dict[str, Any]]:
            return [dict(img_id=index) for index in range(8)]

        def prepare_data(self, idx: int) -> dict[str, Any]:
            return dict(
                img=np.full((16, 16, 3), 10 * idx, np.uint8),
                img_shape=(16, 16),
                gt_bboxes=HorizontalBoxes([[2.0, 2.0, 14.0, 14.0]]),
                gt_bboxes_labels=np.array([0]),
                gt_ignore_flags=np.array([False]),
            )

    data = MultiImageMixDataset(
        Squares(),
        [
            dict(
                type='GrowingAugment',
                transforms=[
                    dict(type='mmdet.Mosaic', img_scale=(16, 16)),
                    dict(type='mmdet.MixUp', img_scale=(32, 32)),
                ],
            )
        ],
    )
    np.random.seed(0)
    for strength, shapes in ((0, {(16, 16)}), (10, {(32, 32)})):
        set_strength(strength)
        found = [data[index] for index in range(8)]
        assert {results['img'].shape[:2] for results in found} == shapes
        assert not any('mix_results' in results for results in found)
