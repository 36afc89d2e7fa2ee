"""What a drawn scene promises to a detector that learns from it."""

from __future__ import annotations

import numpy as np
import pytest

from scenes import CLASSES, METAINFO, STUFF_CLASSES, THING_CLASSES, draw_scene
from scenes.scene import Scene

STUFF = len(STUFF_CLASSES)
SIZE = (160, 160)


def draw(seed: int, objects: tuple[int, int] = (2, 8), empty: float = 0.0) -> Scene:
    return draw_scene(np.random.default_rng(seed), SIZE, objects, empty)


def areas(scene: Scene) -> np.ndarray:
    """Visible pixels of each object, from back to front."""
    return np.bincount(scene.segments.ravel(), minlength=1 + len(scene.labels))[1 + STUFF :]


@pytest.fixture(scope='module')
def scenes() -> list[Scene]:
    return [draw(seed) for seed in range(40)]


def test_every_class_has_a_colour_of_its_own() -> None:
    assert METAINFO['classes'] == METAINFO['thing_classes'] + METAINFO['stuff_classes']
    assert len(set(METAINFO['palette'])) == len(CLASSES) == 9


def test_same_seed_same_scene() -> None:
    one, same, other = draw(5), draw(5), draw(6)
    assert np.array_equal(one.image, same.image)
    assert np.array_equal(one.segments, same.segments)
    assert one.labels == same.labels
    assert not np.array_equal(one.image, other.image)


def test_global_random_state_is_neither_used_nor_changed() -> None:
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    draw(5)
    assert np.array_equal(np.random.get_state()[1], before)


@pytest.mark.parametrize('size', [(32, 32), (40, 200), (300, 64)])
def test_any_size(size: tuple[int, int]) -> None:
    scene = draw_scene(np.random.default_rng(0), size)
    assert scene.image.shape == (*size, 3) and scene.image.dtype == np.uint8
    assert scene.segments.shape == size


def test_number_of_objects() -> None:
    assert {len(draw(seed, (3, 4)).labels) - STUFF for seed in range(20)} == {3, 4}


def test_full_scene_ends_with_fewer_objects() -> None:
    scene = draw_scene(np.random.default_rng(0), (32, 32), (500, 500), empty=0)
    assert 1 <= len(scene.labels) - STUFF < 500


def test_empty_is_the_probability_of_no_object() -> None:
    sizes = [
        len(draw_scene(np.random.default_rng(s), (32, 32), (1, 1), 0.25).labels) for s in range(200)
    ]
    assert 25 <= sizes.count(STUFF) <= 75  # 50 expected, standard deviation 6.1
    assert set(sizes) == {STUFF, STUFF + 1}


def test_segments_are_stuff_then_objects_all_visible(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert scene.labels[:STUFF] == tuple(range(len(THING_CLASSES), len(CLASSES)))
        assert set(scene.labels[STUFF:]) <= set(range(len(THING_CLASSES)))
        assert scene.segments.min() >= 0
        assert scene.segments.max() == len(scene.labels)
        assert areas(scene).min() >= 16


def test_objects_stay_recognisable_under_later_ones() -> None:
    shares = []
    for seed in range(8):
        # k objects are the first k of eight, so the last of k objects is seen whole in that scene
        steps = [draw(seed, (count, count)) for count in range(1, 9)]
        for count, scene in enumerate(steps, start=1):
            assert scene.labels == steps[-1].labels[: STUFF + count]
            shares.append(areas(steps[-1])[count - 1] / areas(scene)[count - 1])
    assert min(shares) >= 0.3
    assert max(shares) == 1
    assert np.mean(np.less(shares, 1)) > 0.2, 'objects hardly overlap'


def test_small_objects_keep_16_pixels() -> None:
    crowds = [draw_scene(np.random.default_rng(s), (32, 32), (12, 12), empty=0) for s in range(60)]
    assert min(areas(scene).min() for scene in crowds) >= 16


def test_objects_stand_out_from_what_they_cover() -> None:
    contrasts = []
    for seed in range(100):
        before, after = (
            draw_scene(np.random.default_rng(seed), (48, 48), (count, count), empty=0)
            for count in (5, 6)
        )
        mask = after.segments == STUFF + 6
        contrasts.append(np.abs(after.image[mask].astype(float) - before.image[mask]).mean())
    assert min(contrasts) > 30
    assert np.percentile(contrasts, 5) > 46  # without a rule for it: 41, and 14 at the least


def test_objects_are_small_to_large_and_of_every_class(scenes: list[Scene]) -> None:
    sizes = np.concatenate([areas(scene) for scene in scenes])
    assert sizes.min() < 60
    assert sizes.max() > SIZE[0] * SIZE[1] / 6
    labels = np.concatenate([scene.labels[STUFF:] for scene in scenes])
    assert np.bincount(labels, minlength=len(THING_CLASSES)).min() > len(labels) / 12


def test_every_background_and_void_occur(scenes: list[Scene]) -> None:
    shares = np.mean(
        [[np.mean(scene.segments == k) for k in range(1 + STUFF)] for scene in scenes], 0
    )
    assert 0.003 < shares[0] < 0.1
    assert shares[1:].min() > 0.05


def test_classes_differ_in_shape_and_not_in_colour(scenes: list[Scene]) -> None:
    colours = [[] for _ in THING_CLASSES]
    for scene in scenes:
        for segment, label in list(enumerate(scene.labels, start=1))[STUFF:]:
            colours[label].append(scene.image[scene.segments == segment].mean(0))
    means = np.array([np.mean(one, 0) for one in colours])
    spread = np.array([np.std(one, 0) for one in colours])
    assert np.ptp(means, 0).max() < spread.min() + 25
    assert spread.min() > 30
