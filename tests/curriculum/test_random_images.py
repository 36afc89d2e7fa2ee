"""Random batches through mmdet's preprocessor against the formulas of docs/curriculum.md."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS
from mmengine.structures import InstanceData, PixelData

from agvm_mm.compat import has_compiled_ops

IMAGES = [
    *(torch.uint8, torch.int16, torch.int32, torch.int64, torch.bool),
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
]
BOXES = [torch.int64, torch.int32, torch.float16, torch.float32, torch.float64]


def small(size: int, ratio: float) -> int:
    return min(size, max(2, 2 * round(ratio * size / 2)))


def fourier(before: int, after: int, align: str) -> np.ndarray:
    """The crop of one axis as a matrix, from its formula."""
    if before == after:
        return np.eye(before)
    frequency = np.r_[np.arange(after // 2), np.arange(-(after // 2), 0)]
    shift = (before / after - 1) / 2 if align == 'center' else 0.0
    forward = np.exp(-2j * np.pi * np.outer(frequency, np.arange(before)) / before)
    place = np.arange(after)[:, None] / after + shift / before
    return np.exp(2j * np.pi * place * frequency) / before @ forward


def lanczos(before: int, after: int, align: str) -> np.ndarray:
    if before == after:
        return np.eye(before)
    distance = after / before * (np.arange(before) + 0.5) - (np.arange(after)[:, None] + 0.5)
    weights = np.sinc(distance) * np.sinc(distance / 3) * (abs(distance) < 3)
    return weights / weights.sum(1, keepdims=True)


class Case:
    """Up to three images of 1 to 119 pixels a side, boxes inside, on and beyond the edges."""

    def __init__(self, seed: int) -> None:
        from mmdet.structures import DetDataSample
        from mmdet.structures.bbox import HorizontalBoxes
        from mmdet.structures.mask import BitmapMasks

        rng = self.rng = np.random.default_rng(seed)
        self.mode, self.align = [('fft', 'center'), ('fft', 'corner'), ('lanczos', 'center')][
            rng.integers(3)
        ]
        self.ratio = float(rng.choice([rng.uniform(0.02, 0.999), 3 / 7, 0.5, 5 / 7]))
        self.least = float(rng.integers(3))
        kind, box_kind = IMAGES[rng.integers(len(IMAGES))], BOXES[rng.integers(len(BOXES))]
        self.inputs, self.samples, self.boxes = [], [], []
        for _ in range(rng.integers(1, 4)):
            size = self._side(), self._side()
            count = int(rng.integers(6))
            boxes = torch.from_numpy(self._boxes(count, *size)).to(box_kind)
            sample: Any = DetDataSample(metainfo=dict(img_shape=size, scale_factor=(1.0, 1.0)))
            masks = rng.integers(0, 2, (count, *size)).astype(np.uint8)
            sample.gt_instances = InstanceData(
                bboxes=HorizontalBoxes(boxes) if rng.random() < 0.5 else boxes.clone(),
                labels=torch.arange(count),
                masks=BitmapMasks(masks, *size),
            )
            labels = torch.from_numpy(rng.choice([0, 3, 255], (1, *size)))
            sample.gt_sem_seg = PixelData(sem_seg=labels)
            self.inputs.append(torch.from_numpy(rng.integers(0, 256, (3, *size))).to(kind))
            self.samples.append(sample)
            self.boxes.append(boxes.double().numpy())

    def _side(self) -> int:
        return int(self.rng.choice([1, 2, 3, self.rng.integers(1, 40), self.rng.integers(1, 120)]))

    def _boxes(self, count: int, height: int, width: int) -> np.ndarray:
        def ends(size: int) -> np.ndarray:
            anywhere = self.rng.uniform(-5, size + 5, (count, 2))
            on_the_edge = self.rng.integers(0, 2, (count, 2)) * size
            return np.sort(np.where(self.rng.random((count, 2)) < 0.5, anywhere, on_the_edge), 1)

        x, y = ends(width), ends(height)
        return np.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], 1)

    def run(self) -> dict[str, Any]:
        preprocessor = MODELS.build(
            dict(
                type='LowFreqDetDataPreprocessor',
                mode=self.mode,
                align=self.align,
                min_box_size=self.least,
            )
        )
        preprocessor.ratio = self.ratio
        found: dict[str, Any] = preprocessor(
            dict(inputs=self.inputs, data_samples=self.samples), True
        )
        return found

    def moved(self, boxes: np.ndarray, size: tuple[int, int], after: tuple[int, int]) -> np.ndarray:
        scale = np.array([after[1] / size[1], after[0] / size[0]] * 2)
        shift = (1 - scale) / 2 if self.align == 'corner' else 0.0
        return np.clip(boxes * scale + shift, 0, [after[1], after[0]] * 2)


SLOW = [pytest.param(seed, marks=pytest.mark.slow) for seed in range(40, 500)]


@pytest.mark.skipif(not has_compiled_ops(), reason='mmdet needs the ops of mmcv')
@pytest.mark.parametrize('seed', [*range(40), *SLOW])
def test_images_boxes_masks_and_maps(seed: int) -> None:
    case = Case(seed)
    axis = fourier if case.mode == 'fft' else lanczos
    out = case.run()
    for index, (image, boxes) in enumerate(zip(case.inputs, case.boxes)):
        size = tuple(image.shape[1:])
        height, width = after = small(size[0], case.ratio), small(size[1], case.ratio)
        rows, columns = (axis(a, b, case.align) for a, b in zip(size, after))
        expected = (rows @ image.double().numpy() @ columns.T).real
        found = out['inputs'][index].double().numpy()
        np.testing.assert_allclose(found[:, :height, :width], expected, rtol=1e-5, atol=2e-3)
        assert not found[:, height:].any() and not found[:, :, width:].any()

        sample = out['data_samples'][index]
        assert sample.img_shape == after
        assert sample.scale_factor == pytest.approx((width / size[1], height / size[0]))
        moved = case.moved(boxes, size, after)
        sides = moved[:, 2:] - moved[:, :2]
        instances = sample.gt_instances
        if (abs(sides - case.least) > 1e-4).all() or case.least == 0:  # not decided by rounding
            keep = (sides >= case.least).all(1)
            assert instances.labels.tolist() == keep.nonzero()[0].tolist()
            np.testing.assert_allclose(instances.bboxes.numpy(), moved[keep], rtol=0, atol=1e-3)
        assert len(instances.masks) == len(instances.labels)
        labels = sample.gt_sem_seg.sem_seg
        assert tuple(labels.shape[1:]) == after and set(labels.unique().tolist()) <= {0, 3, 255}
        assert tuple(case.samples[index].gt_sem_seg.sem_seg.shape[1:]) == size  # as it was given
