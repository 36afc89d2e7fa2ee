"""The annotations of a scene against the pixels of that scene."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as mask_utils

from scenes import (
    CLASSES,
    STUFF_CLASSES,
    THING_CLASSES,
    Scene,
    draw_scene,
    write_split,
)
from scenes.coco_writer import (
    describe_instances,
    describe_segments,
    panoptic_map,
    semantic_map,
    trace_polygons,
)

STUFF = len(STUFF_CLASSES)


def rasterise(polygons: list[list[float]], size: tuple[int, int]) -> np.ndarray:
    return mask_utils.decode(mask_utils.merge(mask_utils.frPyObjects(polygons, *size)))


def ids_of(colours: np.ndarray) -> np.ndarray:
    blue, green, red = np.moveaxis(colours.astype(int), -1, 0)
    return red + 256 * green + 256**2 * blue


def box_of(mask: np.ndarray) -> list[int]:
    rows, columns = np.nonzero(mask)
    width, height = np.ptp(columns) + 1, np.ptp(rows) + 1
    return [columns.min(), rows.min(), width, height]


@pytest.fixture(scope='module')
def scenes() -> list[Scene]:
    return [draw_scene(np.random.default_rng(seed), (120, 160), (1, 12), 0) for seed in range(25)]


@pytest.fixture(scope='module')
def crowded() -> Scene:
    """One pixel for each of 400 segments, more than one colour channel can count."""
    labels = (*range(len(THING_CLASSES), len(CLASSES)), *([0, 5] * 199)[: 400 - STUFF])
    segments = np.arange(1, 401, dtype=np.int32).reshape(20, 20)
    return Scene(np.zeros((20, 20, 3), np.uint8), segments, labels)


@settings(max_examples=300)
@given(
    arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 1))
)
def test_polygons_give_back_any_mask(mask: np.ndarray) -> None:
    polygons = trace_polygons(mask)
    assert all(len(polygon) >= 6 for polygon in polygons)
    if mask.any():
        assert np.array_equal(rasterise(polygons, mask.shape), mask)
    else:
        assert polygons == []


def test_corners_lie_evenly_within_the_edge() -> None:
    mask = np.zeros((6, 8), np.uint8)
    mask[2:5, 1:7] = 1
    (polygon,) = trace_polygons(mask)
    corners = np.reshape(polygon, (-1, 2))
    assert corners.min(0).tolist() == [1.25, 2.25]
    assert corners.max(0).tolist() == [6.75, 4.75]


def test_polygons_of_nested_rings() -> None:
    mask = np.zeros((40, 40), np.uint8)
    for radius, value in [(18, 1), (14, 0), (10, 1), (5, 0), (2, 1)]:
        cv2.circle(mask, (20, 20), radius, value, -1)
    polygons = trace_polygons(mask)
    assert np.array_equal(rasterise(polygons, mask.shape), mask)
    moved = trace_polygons(mask, origin=(7, 30))
    assert np.allclose(np.reshape(moved[0], (-1, 2)) - np.reshape(polygons[0], (-1, 2)), (7, 30))


def test_instances_are_the_visible_objects(scenes: list[Scene]) -> None:
    for scene in scenes:
        annotations = describe_instances(scene)
        assert len(annotations) == len(scene.labels) - STUFF
        for segment, annotation in enumerate(annotations, start=STUFF + 1):
            mask = scene.segments == segment
            assert (
                THING_CLASSES[annotation['category_id'] - 1] == CLASSES[scene.labels[segment - 1]]
            )
            assert annotation['bbox'] == box_of(mask)
            assert annotation['area'] == mask.sum()
            assert annotation['iscrowd'] == 0
            assert np.array_equal(rasterise(annotation['segmentation'], mask.shape), mask)


def test_panoptic_colours_are_the_segments(scenes: list[Scene], crowded: Scene) -> None:
    for scene in [*scenes, crowded]:
        ids = ids_of(panoptic_map(scene))
        info = {segment['id']: segment for segment in describe_segments(scene)}
        assert set(np.unique(ids)) - {0} == set(info)
        assert np.array_equal(ids == 0, scene.segments == 0)
        for number, segment in info.items():
            assert segment['area'] == np.sum(ids == number)
            assert segment['bbox'] == box_of(ids == number)
        assert sum(segment['area'] for segment in info.values()) + np.sum(ids == 0) == ids.size


def test_semantic_map_agrees_with_panoptic(scenes: list[Scene], crowded: Scene) -> None:
    for scene in [*scenes, crowded]:
        ids = ids_of(panoptic_map(scene))
        expected = np.full(ids.shape, 255)
        for segment in describe_segments(scene):
            expected[ids == segment['id']] = segment['category_id'] - 1
        assert np.array_equal(semantic_map(scene), expected)


def test_hidden_background_has_no_segment() -> None:
    labels = tuple(range(len(THING_CLASSES), len(CLASSES)))
    scene = Scene(np.zeros((4, 4, 3), np.uint8), np.full((4, 4), 2, np.int32), labels)
    assert [segment['category_id'] for segment in describe_segments(scene)] == [labels[1] + 1]


def test_written_files_are_those_maps(tmp_path: Path, scenes: list[Scene]) -> None:
    count = write_split(tmp_path, 'train', scenes[:3])
    assert len(list((tmp_path / 'train2017').iterdir())) == 3
    annotations = tmp_path / 'annotations'
    instances = json.loads((annotations / 'instances_train2017.json').read_text())
    panoptic = json.loads((annotations / 'panoptic_train2017.json').read_text())
    assert [one['id'] for one in instances['annotations']] == list(range(1, count + 1))
    assert [one['name'] for one in instances['categories']] == list(THING_CLASSES)
    assert [one['name'] for one in panoptic['categories']] == list(CLASSES)
    assert [one['isthing'] for one in panoptic['categories']] == [1] * 6 + [0] * 3
    assert instances['images'] == panoptic['images'] and len(panoptic['images']) == 3
    for scene, image, segments in zip(
        scenes[:3], panoptic['images'], panoptic['annotations'], strict=True
    ):
        assert (image['height'], image['width']) == (120, 160)
        assert segments['image_id'] == image['id']
        assert segments['segments_info'] == describe_segments(scene)
        colours = cv2.imread(str(annotations / 'panoptic_train2017' / segments['file_name']))
        assert np.array_equal(colours, panoptic_map(scene))
        path = annotations / 'semantic_train2017' / segments['file_name']
        assert np.array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), semantic_map(scene))
        picture = cv2.imread(str(tmp_path / 'train2017' / image['file_name'])).astype(float)
        assert np.abs(picture - scene.image).mean() < 8


def test_unwritable_image_is_an_error(tmp_path: Path, scenes: list[Scene]) -> None:
    (tmp_path / 'train2017' / '000000000001.jpg').mkdir(parents=True)
    with pytest.raises(OSError, match=r'000000000001\.jpg could not be written'):
        write_split(tmp_path, 'train', scenes[:1])
