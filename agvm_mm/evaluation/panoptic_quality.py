"""Panoptic quality from MMDetection's predictions, without the package panopticapi.

torchmetrics has the same measure, but there a ground-truth segment that the prediction leaves void
is not missed, and void of the prediction is cut out of the union. Panoptic FPN leaves void where it
finds no object, so its score would rise with every object it overlooks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.fileio import load
from mmengine.registry import METRICS
from numpy.typing import NDArray

from .segments import Integers, Segments, count_matches

INSTANCE_OFFSET = 1000
"""MMDetection writes class + 1000 x number of the object into a pixel."""

Counts = NDArray[np.float64]


@METRICS.register_module()
class PanopticQualityMetric(BaseMetric):
    """PQ, SQ and RQ of Kirillov et al. (2019) in percent, over all classes, things and stuff.

    ``SQ = sum of IoU / TP``, ``RQ = TP / (TP + FP/2 + FN/2)``, ``PQ = SQ RQ`` of each class, then
    the mean over the classes that have a segment in the truth or in the predictions, NaN if none
    has. Names, scale and rules for void and crowds are those of MMDetection's
    ``CocoPanopticMetric``.

    Label i of the model is the i-th category of the annotation file.

    Args:
        ann_file: Panoptic annotations in COCO's format.
        seg_prefix: Folder of the panoptic PNGs, where id = red + 256 green + 256^2 blue.
        **kwargs: ``collect_device``, ``prefix`` and ``collect_dir`` of MMEngine's ``BaseMetric``.

    References:
        Kirillov et al., "Panoptic segmentation", CVPR 2019, section 4.
    """

    default_prefix = 'coco_panoptic'

    def __init__(self, ann_file: str, seg_prefix: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        content = load(ann_file, file_format='json')  # a pickle could run code
        self.ann_file = ann_file
        self.folder = Path(seg_prefix)
        self.names = [category['name'] for category in content['categories']]
        self.is_thing = np.array([bool(entry['isthing']) for entry in content['categories']])
        self.label_of = {entry['id']: i for i, entry in enumerate(content['categories'])}
        self.annotations = {entry['image_id']: entry for entry in content['annotations']}

    @property
    def dataset_meta(self) -> Mapping[str, Any] | None:
        """``metainfo`` of the dataset; the loop sets it before training.

        Raises:
            ValueError: its classes are not the first categories of the annotation file.
        """
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, meta: Mapping[str, Any] | None) -> None:
        classes = list((meta or {}).get('classes', ()))
        if classes != self.names[: len(classes)]:
            raise ValueError(
                f'the classes {classes} of the dataset must be the first categories of '
                f'{self.ann_file}, {self.names}, in their order; set metainfo of the dataset.'
            )
        self._dataset_meta = meta

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Add one image's counts for every sample.

        Args:
            data_batch: Not used.
            data_samples: Each with ``img_id`` and ``pred_panoptic_seg``, a map of shape (1, height,
                width).

        Raises:
            ValueError: an image has no annotation or its map not the size of the PNG.
            OSError: a PNG cannot be read.
        """
        for sample in data_samples:
            entry = self.annotations.get(sample['img_id'])
            if entry is None:
                raise ValueError(
                    f'image {sample["img_id"]} of the dataset is not in {self.ann_file}; set '
                    'ann_file of the metric to the file of the same split.'
                )
            predicted = np.asarray(sample['pred_panoptic_seg']['sem_seg'].cpu()).squeeze(0)
            truth = self._read_ids(entry['file_name'])
            if truth.shape != predicted.shape:
                raise ValueError(
                    f'the prediction for {entry["file_name"]} has shape {predicted.shape}, the '
                    f'truth in {self.folder} has {truth.shape}; they must be equal.'
                )
            counts = count_matches(
                self._true_segments(truth, entry['segments_info']),
                self._predicted_segments(predicted),
                len(self.names),
            )
            self.results.append(counts)

    def compute_metrics(self, results: Sequence[Counts]) -> dict[str, float]:
        """PQ, SQ and RQ and, with ``_th`` and ``_st``, those of things and stuff; 0 to 100.

        Args:
            results: Sum of IoU, TP, FP and FN of every class for each image, shape (4, classes).
        """
        iou, hits, false, missed = np.sum(results, axis=0)
        weight = hits + (false + missed) / 2
        sq = iou / np.maximum(hits, 1)
        rq = hits / np.maximum(weight, 0.5)  # half of one segment is the least that a class has
        scores = {}
        for suffix, chosen in (('', True), ('_th', self.is_thing), ('_st', ~self.is_thing)):
            present = (weight > 0) & chosen
            for name, values in (('PQ', sq * rq), ('SQ', sq), ('RQ', rq)):
                mean = values[present].mean() if present.any() else np.nan
                scores[name + suffix] = 100 * float(mean)
        return scores

    def _read_ids(self, name: str) -> Integers:
        image = cv2.imread(str(self.folder / name), cv2.IMREAD_COLOR)
        if image is None:
            raise OSError(f'{self.folder / name} cannot be read as an image.')
        ids: Integers = image.astype(np.int64) @ np.array([256**2, 256, 1])  # blue, green, red
        return ids

    def _true_segments(self, ids: Integers, info: list[dict[str, Any]]) -> Segments:
        return Segments.from_ids(
            ids,
            [entry['id'] for entry in info],
            [self.label_of[entry['category_id']] for entry in info],
            [bool(entry.get('iscrowd', 0)) for entry in info],
        )

    def _predicted_segments(self, ids: Integers) -> Segments:
        found = np.unique(ids)
        found = found[found % INSTANCE_OFFSET < len(self.names)]  # a label beyond them is void
        labels = (found % INSTANCE_OFFSET).tolist()
        return Segments.from_ids(ids, found.tolist(), labels, [False] * len(labels))
