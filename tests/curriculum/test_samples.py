"""Every kind of ground truth that a sample may hold is moved or refused; stacked images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from curriculum_toy import Preprocessor
from mmengine.structures import BaseDataElement, InstanceData, PixelData

from agvm_mm.compat import has_compiled_ops
from agvm_mm.curriculum.geometry import Grid
from agvm_mm.curriculum.samples import move_instances, move_sample

GRID = Grid((8, 12), (4, 6))
CORNER = Grid((8, 12), (4, 6), 'corner')
BOXES = torch.tensor([[2.0, 2.0, 8.0, 6.0], [0.0, 0.0, 1.0, 8.0]])


def sample(**fields: Any) -> BaseDataElement:
    return BaseDataElement(metainfo=dict(img_shape=(8, 12)), **fields)


@pytest.mark.parametrize('key', ['gt_keypoints', 'gt_panoptic_seg', 'gt_depth_map'])
def test_what_would_point_at_other_pixels_is_refused(key: str) -> None:
    given = sample(**{key: PixelData(data=torch.zeros(1, 8, 12))})
    with pytest.raises(ValueError, match=f"holds '{key}', which low-frequency cropping cannot"):
        move_sample(given, GRID, 1.0)


@pytest.mark.parametrize('key', ['keypoints', 'keypoints_visible'])
def test_so_are_keypoints_of_instances(key: str) -> None:
    given = sample(gt_instances=InstanceData(bboxes=BOXES, **{key: torch.zeros(2, 17, 2)}))
    with pytest.raises(ValueError, match=f"holds '{key}'"):
        move_sample(given, GRID, 1.0)


@pytest.mark.parametrize('key', ['gt_instances', 'ignored_instances', 'proposals'])
def test_boxes_move_wherever_they_are(key: str) -> None:
    """Half the size; what becomes narrower than a pixel is left out with its score."""
    given = sample(**{key: InstanceData(bboxes=BOXES, scores=torch.tensor([0.9, 0.1]))})
    moved = move_sample(given, GRID, 1.0).get(key)
    assert moved.bboxes.tolist() == [[1.0, 1.0, 4.0, 3.0]]
    assert moved.scores.tolist() == pytest.approx([0.9])
    assert given.get(key).bboxes is BOXES


@pytest.mark.parametrize('grid', [GRID, CORNER], ids=['center', 'corner'])
def test_edges_move_like_any_map_of_labels(grid: Grid) -> None:
    edges = torch.zeros(1, 8, 12, dtype=torch.uint8)
    edges[:, :, 6:8] = 1
    edges[:, :2] = 255
    found = move_sample(sample(gt_edge_map=PixelData(data=edges)), grid, 1.0).gt_edge_map.data
    assert found.shape == (1, 4, 6) and found.dtype == torch.uint8
    expected = torch.zeros(1, 4, 6, dtype=torch.uint8)
    expected[:, :, 3] = 1
    expected[:, 0] = 255
    assert torch.equal(found, expected)


@pytest.mark.parametrize('grid', [GRID, CORNER], ids=['center', 'corner'])
def test_a_map_at_the_stride_of_a_head_is_refused(grid: Grid) -> None:
    """As HTC's semantic maps, which SegRescale makes smaller."""
    given = sample(gt_sem_seg=PixelData(sem_seg=torch.zeros(1, 4, 6)))
    with pytest.raises(ValueError, match="holds 'gt_sem_seg' of 4 x 6 pixels for an image of 8 x"):
        move_sample(given, grid, 1.0)


def test_instances_without_boxes_stay_all() -> None:
    instances = InstanceData(labels=torch.tensor([1, 2]))
    moved = move_instances(instances, GRID, 100.0)
    assert moved is not instances and moved.labels.tolist() == [1, 2]
    assert len(move_instances(InstanceData(), GRID, 1.0)) == 0


@pytest.mark.skipif(not has_compiled_ops(), reason='mmdet needs the ops of mmcv')
def test_masks_without_boxes_move() -> None:
    from mmdet.structures.mask import BitmapMasks

    masks = np.zeros((2, 8, 12), np.uint8)
    masks[0, 2:6, 4:10] = 1
    instances = InstanceData(labels=torch.tensor([1, 2]), masks=BitmapMasks(masks, 8, 12))
    moved = move_instances(instances, GRID, 1.0)
    assert moved.masks.masks.shape == (2, 4, 6) and moved.labels.tolist() == [1, 2]
    small = np.zeros((2, 4, 6), np.uint8)
    small[0, 1:3, 2:5] = 1
    assert np.array_equal(moved.masks.masks, small)
    assert instances.masks.masks.shape == (2, 8, 12)


@pytest.mark.parametrize('mode', ['fft', 'lanczos'])
def test_stacked_images_are_those_of_a_list(mode: str) -> None:
    """What a collate function hands over that stacks."""
    ours = Preprocessor(mode=mode)
    ours.ratio = 0.5
    images = torch.rand(3, 1, 16, 24, generator=torch.Generator().manual_seed(0))
    samples = [sample() for _ in images]
    stacked = ours(dict(inputs=images, data_samples=samples), True)
    listed = ours(dict(inputs=list(images), data_samples=samples), True)
    assert stacked['inputs'].shape == (3, 1, 8, 12)
    for one, other in zip(stacked['inputs'], listed['inputs'], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)
    assert len(stacked['data_samples']) == 3 and images.shape == (3, 1, 16, 24)
