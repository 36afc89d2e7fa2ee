"""The stock dataset classes read the generated scenes, unchanged and completely."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from scenes import METAINFO, THING_CLASSES


def annotations_of(folder: Path, kind: str) -> dict[str, Any]:
    return json.loads((folder / 'annotations' / f'{kind}_train2017.json').read_text())


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_ground_truth_scores_one(scene_folder: Path, kind: str) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(scene_folder / 'annotations' / 'instances_train2017.json')
        key = {'bbox': 'bbox', 'segm': 'segmentation'}[kind]
        found = [
            {
                'image_id': one['image_id'],
                'category_id': one['category_id'],
                'score': 1.0,
                key: one['bbox'] if kind == 'bbox' else truth.annToRLE(one),
            }
            for one in truth.anns.values()
        ]
        evaluation = COCOeval(truth, truth.loadRes(found), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1.0)


def test_coco_dataset(scene_folder: Path) -> None:
    pytest.importorskip('mmcv._ext', reason='MMDetection needs the compiled operations of mmcv')
    coco = pytest.importorskip('mmdet.datasets').CocoDataset
    pytest.importorskip('mmdet.datasets.transforms')
    dataset = coco(
        data_root=str(scene_folder),
        ann_file='annotations/instances_train2017.json',
        data_prefix={'img': 'train2017/', 'seg': 'annotations/semantic_train2017/'},
        metainfo={'classes': THING_CLASSES},
        pipeline=[
            {'type': 'LoadImageFromFile'},
            {
                'type': 'LoadAnnotations',
                'with_bbox': True,
                'with_mask': True,
                'with_seg': True,
            },
        ],
        test_mode=True,
    )
    truth = annotations_of(scene_folder, 'instances')
    assert len(dataset) == 24
    empty = 0
    for image, loaded in zip(truth['images'], dataset):
        expected = [one for one in truth['annotations'] if one['image_id'] == image['id']]
        empty += not expected
        boxes = np.array([one['bbox'] for one in expected]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        assert np.array_equal(loaded['gt_bboxes'].numpy(), boxes)
        labels = [one['category_id'] - 1 for one in expected]
        assert loaded['gt_bboxes_labels'].tolist() == labels
        assert loaded['img'].shape == (96, 128, 3)
        for label, mask, one in zip(labels, loaded['gt_masks'].masks, expected):
            assert mask.sum() == one['area']
            assert (loaded['gt_seg_map'][mask > 0] == label).all()
    assert 1 <= empty < 12


def test_coco_dataset_filters_empty_images(scene_folder: Path) -> None:
    pytest.importorskip('mmcv._ext', reason='MMDetection needs the compiled operations of mmcv')
    coco = pytest.importorskip('mmdet.datasets').CocoDataset
    dataset = coco(
        data_root=str(scene_folder),
        ann_file='annotations/instances_train2017.json',
        data_prefix={'img': 'train2017/'},
        metainfo={'classes': THING_CLASSES},
        filter_cfg={'filter_empty_gt': True, 'min_size': 32},
    )
    truth = annotations_of(scene_folder, 'instances')
    assert len(dataset) == len({one['image_id'] for one in truth['annotations']})


def panoptic_dataset(folder: Path, pipeline: list[dict[str, Any]]) -> Any:
    pytest.importorskip('mmcv._ext', reason='MMDetection needs the compiled operations of mmcv')
    return pytest.importorskip('mmdet.datasets').CocoPanopticDataset(
        data_root=str(folder),
        ann_file='annotations/panoptic_train2017.json',
        data_prefix={'img': 'train2017/', 'seg': 'annotations/panoptic_train2017/'},
        metainfo=METAINFO,
        pipeline=pipeline,
        test_mode=True,
    )


def test_coco_panoptic_dataset(scene_folder: Path) -> None:
    dataset = panoptic_dataset(scene_folder, pipeline=[])
    assert len(dataset) == 24
    for index, loaded in enumerate(dataset):
        assert Path(loaded['img_path']).is_file()
        blue, green, red = np.moveaxis(cv2.imread(loaded['seg_map_path']).astype(int), -1, 0)
        ids = red + 256 * green + 256**2 * blue
        semantic = read_semantic(scene_folder, index)
        assert set(np.unique(ids)) - {0} == {one['id'] for one in loaded['segments_info']}
        for segment in loaded['segments_info']:
            assert (semantic[ids == segment['id']] == segment['category']).all()
            assert segment['is_thing'] == (segment['category'] < len(THING_CLASSES))
        objects = [one['category'] for one in loaded['segments_info'] if one['is_thing']]
        assert [one['bbox_label'] for one in loaded['instances']] == objects


def test_panoptic_masks(scene_folder: Path) -> None:
    pytest.importorskip('panopticapi', reason="MMDetection's panoptic loader needs panopticapi")
    pipeline = [{'type': 'LoadImageFromFile'}, {'type': 'mmdet.LoadPanopticAnnotations'}]
    dataset = panoptic_dataset(scene_folder, pipeline)
    for index, loaded in enumerate(dataset):
        semantic = read_semantic(scene_folder, index)
        assert np.array_equal(loaded['gt_seg_map'], semantic)
        labels = loaded['gt_bboxes_labels']
        assert len(labels) == len(loaded['gt_bboxes']) == len(loaded['gt_masks'])
        for label, mask in zip(labels, loaded['gt_masks'].masks):
            assert mask.any()
            assert (semantic[mask > 0] == label).all()


def test_segmentation_dataset(scene_folder: Path) -> None:
    pytest.importorskip('mmcv')
    base = pytest.importorskip('mmseg.datasets').BaseSegDataset
    dataset = base(
        data_root=str(scene_folder),
        data_prefix={'img_path': 'train2017', 'seg_map_path': 'annotations/semantic_train2017'},
        img_suffix='.jpg',
        seg_map_suffix='.png',
        metainfo={'classes': METAINFO['classes'], 'palette': METAINFO['palette']},
        pipeline=[{'type': 'mmseg.LoadImageFromFile'}, {'type': 'mmseg.LoadAnnotations'}],
    )
    assert len(dataset) == 24
    for index, loaded in enumerate(dataset):
        assert loaded['img'].shape == (96, 128, 3)
        assert np.array_equal(loaded['gt_seg_map'], read_semantic(scene_folder, index))
        assert set(np.unique(loaded['gt_seg_map'])) <= {*range(len(METAINFO['classes'])), 255}


def read_semantic(folder: Path, index: int) -> np.ndarray:
    path = folder / 'annotations' / 'semantic_train2017' / f'{index + 1:012d}.png'
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
