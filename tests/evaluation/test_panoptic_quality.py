"""The metric: files, labels, means over classes, and torchmetrics where the two agree."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import METRICS

from agvm_mm.evaluation import PanopticQualityMetric
from agvm_mm.evaluation.panoptic_quality import INSTANCE_OFFSET
from scenes import CLASSES, STUFF_CLASSES, THING_CLASSES, draw_scene, write_split

# Two things and a stuff class with ids as unordered as COCO's.
CATEGORIES = [
    {'id': 30, 'name': 'cat', 'isthing': 1},
    {'id': 7, 'name': 'dog', 'isthing': 1},
    {'id': 99, 'name': 'sky', 'isthing': 0},
]
# One id beyond 255 and one beyond 65535, so that every colour channel counts.
CAT, SECOND_CAT, DOG, SKY = 5, 300, 70_000, 9
CATEGORY_OF = {CAT: 30, SECOND_CAT: 30, DOG: 7, SKY: 99}


def write(folder: Path, images: list[list[int]], crowds: tuple[int, ...] = ()) -> dict[str, str]:
    """One row of segment ids per image, 0 for void; the arguments of the metric."""
    annotations = []
    for number, ids in enumerate(images):
        colours = [[i >> 16, i >> 8 & 255, i & 255] for i in ids]
        cv2.imwrite(str(folder / f'{number}.png'), np.array([colours], dtype=np.uint8))
        info = [
            {'id': i, 'category_id': CATEGORY_OF[i], 'iscrowd': int(i in crowds)}
            for i in sorted(set(ids) - {0})
        ]
        annotations.append(
            {'image_id': 10 + number, 'file_name': f'{number}.png', 'segments_info': info}
        )
    path = folder / 'panoptic.json'
    path.write_text(json.dumps({'categories': CATEGORIES, 'annotations': annotations}))
    return dict(ann_file=str(path), seg_prefix=str(folder))


def sample(image: int, pixels: Any) -> dict[str, Any]:
    return dict(img_id=10 + image, pred_panoptic_seg=dict(sem_seg=torch.as_tensor([pixels])))


def test_scores_are_those_counted_by_hand(tmp_path: Path) -> None:
    metric = PanopticQualityMetric(
        **write(tmp_path, [[CAT, CAT, CAT, SKY, SKY, SKY, SKY, 0], [SECOND_CAT, DOG, DOG, SKY]])
    )
    cat, dog, sky, void = 1000, 1001, 2, 3
    metric.process(None, [sample(0, [[cat, cat, sky, sky, sky, sky, sky, cat]])])
    metric.process(None, [sample(1, [[void, dog, dog + 1000, sky]])])
    # cat: IoU 2/3 (the pixel on void is free), then missed. dog: IoU 1/2 twice is no match.
    # sky: 4/5 and 1.
    expected_cat = (2 / 3, 1 / 1.5)
    expected_dog = (0.0, 0.0)
    expected_sky = (0.9, 1.0)
    scores = metric.evaluate(size=2)
    assert set(scores) == {
        f'coco_panoptic/{name}{kind}' for name in ('PQ', 'SQ', 'RQ') for kind in ('', '_th', '_st')
    }
    pairs = (expected_cat, expected_dog, expected_sky)
    for kind, chosen in (('', pairs), ('_th', pairs[:2]), ('_st', pairs[2:])):
        for name, values in (
            ('SQ', [sq for sq, _ in chosen]),
            ('RQ', [rq for _, rq in chosen]),
            ('PQ', [sq * rq for sq, rq in chosen]),
        ):
            mean = 100 * sum(values) / len(values)
            assert scores[f'coco_panoptic/{name}{kind}'] == pytest.approx(mean), name + kind


def test_absent_classes_are_left_out(tmp_path: Path) -> None:
    metric = PanopticQualityMetric(**write(tmp_path, [[SKY, SKY]]))
    metric.process(None, [sample(0, [[2, 2]])])
    scores = metric.evaluate(size=1)
    assert scores['coco_panoptic/PQ'] == scores['coco_panoptic/PQ_st'] == 100
    assert math.isnan(scores['coco_panoptic/PQ_th'])


def test_crowds_of_the_file_are_not_asked_for(tmp_path: Path) -> None:
    metric = PanopticQualityMetric(**write(tmp_path, [[CAT, CAT, SKY]], crowds=(CAT,)))
    metric.process(None, [sample(0, [[3, 3, 2]])])
    assert metric.evaluate(size=1)['coco_panoptic/PQ'] == 100


def test_generated_scenes_score_100_against_themselves(tmp_path: Path) -> None:
    scenes = [draw_scene(np.random.default_rng([2, i]), (48, 64), (1, 5), 0.0) for i in range(4)]
    write_split(tmp_path, 'val', scenes)
    metric = METRICS.build(
        dict(
            type='PanopticQualityMetric',
            ann_file=str(tmp_path / 'annotations/panoptic_val2017.json'),
            seg_prefix=str(tmp_path / 'annotations/panoptic_val2017/'),
        )
    )
    for number, scene in enumerate(scenes, start=1):
        values = [len(CLASSES)]
        for segment, label in enumerate(scene.labels, start=1):
            values.append(label + INSTANCE_OFFSET * segment * (label < len(THING_CLASSES)))
        pixels = torch.as_tensor(np.array(values)[scene.segments])
        metric.process(None, [dict(img_id=number, pred_panoptic_seg=dict(sem_seg=pixels[None]))])
    scores = metric.evaluate(size=len(scenes))
    assert set(scores.values()) == {100}


class TestFaults:
    def test_classes_in_another_order_are_refused(self, tmp_path: Path) -> None:
        metric = PanopticQualityMetric(**write(tmp_path, [[SKY]]))
        metric.dataset_meta = dict(classes=('cat', 'dog'))
        with pytest.raises(ValueError, match=r"\['dog', 'cat'\] of the dataset must be the first"):
            metric.dataset_meta = dict(classes=('dog', 'cat'))

    def test_another_size_is_refused(self, tmp_path: Path) -> None:
        metric = PanopticQualityMetric(**write(tmp_path, [[SKY, SKY]]))
        with pytest.raises(ValueError, match=r'0.png has shape \(1, 3\), .* has \(1, 2\)'):
            metric.process(None, [sample(0, [[2, 2, 2]])])

    def test_an_image_of_another_split_is_named(self, tmp_path: Path) -> None:
        metric = PanopticQualityMetric(**write(tmp_path, [[SKY]]))
        with pytest.raises(ValueError, match=r'image 15 of the dataset is not in .*panoptic.json'):
            metric.process(None, [sample(5, [[2]])])

    def test_a_missing_png_is_named(self, tmp_path: Path) -> None:
        metric = PanopticQualityMetric(**write(tmp_path, [[SKY]]))
        (tmp_path / '0.png').unlink()
        with pytest.raises(OSError, match=r'0.png cannot be read'):
            metric.process(None, [sample(0, [[2]])])


def test_it_agrees_with_torchmetrics_where_nothing_is_predicted_void(tmp_path: Path) -> None:
    """The truth has void; crowds are unknown there, and void predictions count otherwise."""
    functional = pytest.importorskip('torchmetrics.functional.detection')
    count = 6
    rng = np.random.default_rng(11)
    scenes = [draw_scene(rng, (40, 48), (3, 8), 0.0) for _ in range(count)]
    write_split(tmp_path, 'val', scenes)
    annotations = tmp_path / 'annotations'
    metric = PanopticQualityMetric(
        ann_file=str(annotations / 'panoptic_val2017.json'),
        seg_prefix=str(annotations / 'panoptic_val2017'),
    )
    truths, predictions = [], []
    for number, scene in enumerate(scenes, start=1):
        # The truth, moved by some pixels, some objects of another class, stuff in place of void.
        labels = np.array([len(THING_CLASSES), *scene.labels])
        moved = np.roll(scene.segments, rng.integers(-2, 3, 2), axis=(0, 1))
        wrong = labels.copy()
        change = (rng.random(len(labels)) < 0.3) & (labels < len(THING_CLASSES))
        wrong[change] = rng.integers(len(THING_CLASSES), size=change.sum())
        things = wrong[moved] < len(THING_CLASSES)
        coded = wrong[moved] + INSTANCE_OFFSET * moved * things
        metric.process(
            None, [dict(img_id=number, pred_panoptic_seg=dict(sem_seg=torch.tensor(coded)[None]))]
        )
        void = np.where(scene.segments == 0, len(CLASSES), labels[scene.segments])
        truths.append(np.stack([void, scene.segments], axis=-1))
        predictions.append(np.stack([wrong[moved], moved * things], axis=-1))
    assert any((truth[..., 0] == len(CLASSES)).any() for truth in truths)
    per_class = functional.panoptic_quality(
        torch.tensor(np.stack(predictions)),
        torch.tensor(np.stack(truths)),
        things=set(range(len(THING_CLASSES))),
        stuffs=set(range(len(THING_CLASSES), len(THING_CLASSES) + len(STUFF_CLASSES))),
        return_sq_and_rq=True,
    )
    scores = metric.evaluate(size=count)
    assert 0 < scores['coco_panoptic/PQ'] < 100
    for name, theirs in zip(('PQ', 'SQ', 'RQ'), per_class.tolist()):
        assert scores[f'coco_panoptic/{name}'] == pytest.approx(100 * theirs, rel=1e-6), (
            name
        )  # float32
