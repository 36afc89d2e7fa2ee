"""Images with boxes, resident in memory, and the score of a detector."""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .images import split


class Boxes(NamedTuple):
    """Images (N, 3, H, W) in uint8, blue first, and MMDetection's samples with their boxes."""

    images: Tensor
    samples: Sequence[Any]

    def take(self, chosen: Tensor, mirrored: Tensor) -> Boxes:
        """See :class:`.images.Images`."""
        images = self.images[chosen]
        images[mirrored] = images[mirrored].flip(-1)
        samples = [copy.deepcopy(self.samples[i]) for i in chosen.tolist()]
        for i in mirrored.nonzero().flatten().tolist():
            samples[i].gt_instances.bboxes.flip_(samples[i].img_shape)
        return Boxes(images, samples)

    def as_data(self) -> dict[str, Any]:
        """What a loader of MMDetection yields."""
        return dict(inputs=list(self.images), data_samples=list(self.samples))


@torch.no_grad()
def average_precision(
    model: Any, val: Boxes, annotations: Path, classes: Sequence[str], batch: int = 24
) -> dict[str, float]:
    """COCO's box AP and AP50 in percent; leaves the model in training mode.

    Args:
        model: the detector.
        val: the images of ``annotations``, in their order.
        annotations: file in COCO's format.
        classes: the names of its categories, in the order of the detector's labels.
        batch: images at a time.
    """
    from mmdet.evaluation import CocoMetric

    model.eval()
    found = [sample for part in split(val, batch) for sample in model.test_step(part.as_data())]
    model.train()
    if not any(len(sample.pred_instances) for sample in found):  # of which the metric complains
        return {'AP': 0.0, 'AP50': 0.0}
    with contextlib.redirect_stdout(io.StringIO()):
        metric = CocoMetric(ann_file=str(annotations), metric='bbox')
        metric.dataset_meta = dict(classes=tuple(classes))
        metric.process({}, [sample.to_dict() for sample in found])
        scores = metric.evaluate(len(found))
    return {'AP': 100 * scores['coco/bbox_mAP'], 'AP50': 100 * scores['coco/bbox_mAP_50']}
