"""mmdet's and mmseg's data preprocessors with the crop: images and ground truth."""

from __future__ import annotations

import copy
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from drawing import Ellipse, draw, ellipses, overlap
from launcher import environment
from mmengine.registry import MODELS
from mmengine.structures import InstanceData, PixelData
from networks import detection_batch

from agvm_mm.compat import has_compiled_ops
from agvm_mm.curriculum.geometry import Grid
from agvm_mm.curriculum.lowpass import fourier_crop
from agvm_mm.curriculum.samples import move_sample

MEAN, STD = [123.7, 116.3, 103.5], [58.4, 57.1, 57.4]
needs_mmdet = pytest.mark.skipif(not has_compiled_ops(), reason='mmdet needs the ops of mmcv')
SIZE = (112, 168)


def build(kind: str, **kwargs: Any) -> Any:
    return MODELS.build(dict(type=kind, mean=MEAN, std=STD, **kwargs))


def detection(**kwargs: Any) -> Any:
    return build('LowFreqDetDataPreprocessor', pad_size_divisor=32, **kwargs)


@pytest.fixture
def batch() -> dict[str, Any]:
    """One image with ellipses: boxes of mmdet's type, masks, a semantic map, an ignored box."""
    from mmdet.structures import DetDataSample
    from mmdet.structures.bbox import HorizontalBoxes
    from mmdet.structures.mask import BitmapMasks

    shapes = ellipses(0, 110, 40, count=5) + [Ellipse(60, 50, 0.9, 20)]
    masks = np.stack([draw(shape, SIZE) for shape in shapes]).astype(np.uint8)
    semantic = np.where(masks[:5].any(0), 4, 1)
    semantic[:10] = 255
    sample = DetDataSample(
        metainfo=dict(img_shape=SIZE, ori_shape=(224, 336), scale_factor=(0.5, 0.5), img_id=7)
    )
    sample.gt_instances = InstanceData(
        bboxes=HorizontalBoxes([shape.box for shape in shapes]),
        labels=torch.arange(6),
        masks=BitmapMasks(masks, *SIZE),
    )
    sample.ignored_instances = InstanceData(
        bboxes=HorizontalBoxes([[0.0, 0.0, 30.0, 30.0]]), labels=torch.tensor([3])
    )
    sample.gt_sem_seg = PixelData(sem_seg=torch.from_numpy(semantic)[None])
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.integers(0, 256, (3, *SIZE), dtype=np.uint8))
    return dict(inputs=[image], data_samples=[sample], shapes=shapes)


@needs_mmdet
class TestDetection:
    def test_full_size_and_evaluation_are_the_stock_ones(self) -> None:
        stock = build('mmdet.DetDataPreprocessor', pad_size_divisor=32)
        for ratio, training in ((1.0, True), (0.5, False)):
            ours = detection()
            ours.ratio = ratio
            a = ours(detection_batch([1]), training)
            b = stock(detection_batch([1]), training)
            assert torch.equal(a['inputs'], b['inputs'])
            for x, y in zip(a['data_samples'], b['data_samples']):
                assert torch.equal(x.gt_instances.bboxes, y.gt_instances.bboxes)
                assert x.metainfo == y.metainfo

    @pytest.mark.parametrize('align', ['center', 'corner'])
    def test_image_is_cropped_normalised_and_then_padded(self, batch: Any, align: str) -> None:
        ours = detection(align=align)
        ours.ratio = 3 / 7
        image = batch['inputs'][0]
        inputs = ours(batch, True)['inputs']
        assert inputs.shape == (1, 3, 64, 96)
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
        small = (fourier_crop(image, 48, 72, align) - mean) / std
        torch.testing.assert_close(inputs[0, :, :48, :72], small, rtol=0, atol=1e-5)
        assert (inputs[0, :, 48:] == 0).all() and (inputs[0, :, :, 72:] == 0).all()

    def test_ground_truth_moves_with_the_image(self, batch: Any) -> None:
        ours = detection(pad_mask=True, pad_seg=True)
        ours.ratio = 3 / 7
        shapes = batch['shapes']
        sample = ours(batch, True)['data_samples'][0]
        grid = Grid(SIZE, (48, 72))
        found = sample.gt_instances
        assert found.labels.tolist() == [0, 1, 2, 3, 4]  # the sixth became 0.8 pixels wide
        boxes = torch.tensor([shape.box for shape in shapes[:5]]) * (3 / 7)
        boxes[:, 0::2] = boxes[:, 0::2].clamp(0, 72)
        boxes[:, 1::2] = boxes[:, 1::2].clamp(0, 48)
        torch.testing.assert_close(found.bboxes, boxes)
        assert found.masks.masks.shape == (5, 64, 96)
        overlaps = [
            overlap(m[:48, :72] > 0, draw(s, SIZE, grid)) for m, s in zip(found.masks.masks, shapes)
        ]
        assert np.mean(overlaps) >= 0.98
        torch.testing.assert_close(
            sample.ignored_instances.bboxes, torch.tensor([[0.0, 0.0, 90 / 7, 90 / 7]])
        )
        semantic = sample.gt_sem_seg.sem_seg[0]
        assert semantic.shape == (64, 96)
        anew = np.any([draw(shape, SIZE, grid) for shape in shapes[:5]], 0)
        inside = (semantic[:48, :72] == 4).numpy()[5:]
        assert overlap(inside, anew[5:]) >= 0.98
        assert (semantic[:4, :72] == 255).all() and not (semantic[5:48, :72] == 255).any()

    def test_what_the_sample_says_of_its_size(self, batch: Any) -> None:
        ours = detection()
        ours.ratio = 3 / 7
        meta = ours(batch, True)['data_samples'][0].metainfo
        assert meta['img_shape'] == (48, 72) and meta['ori_shape'] == (224, 336)
        assert meta['scale_factor'] == pytest.approx((0.5 * 3 / 7, 0.5 * 3 / 7))
        assert meta['pad_shape'] == meta['batch_input_shape'] == (64, 96)

    def test_polygons(self, batch: Any) -> None:
        from mmdet.structures.mask import PolygonMasks

        ours = detection()
        ours.ratio = 3 / 7
        shapes = batch['shapes'][:5]
        batch['data_samples'][0].gt_instances = InstanceData(
            bboxes=torch.tensor([shape.box for shape in shapes]),
            masks=PolygonMasks([[shape.corners()] for shape in shapes], *SIZE),
        )
        masks = ours(batch, True)['data_samples'][0].gt_instances.masks
        grid = Grid(SIZE, (48, 72))
        for mask, shape in zip(masks.masks, shapes):
            np.testing.assert_allclose(mask[0], shape.corners() * 3 / 7, atol=1e-9)
        bitmaps = masks.to_bitmap().masks
        assert (
            np.mean([overlap(m > 0, draw(s, SIZE, grid)) for m, s in zip(bitmaps, shapes)]) > 0.9
        )  # COCO's own way to draw

    def test_boxes_as_plain_tensors(self, batch: Any) -> None:
        """What a pipeline with box_type=None gives: scaled and cut at the border."""
        ours = detection()
        ours.ratio = 3 / 7  # 48 x 72 pixels of 112 x 168
        corners = torch.tensor([[7.0, 14.0, 70.0, 91.0], [140.0, 98.0, 182.0, 126.0]])
        batch['data_samples'][0].gt_instances = InstanceData(bboxes=corners)
        found = ours(batch, True)['data_samples'][0].gt_instances.bboxes
        expected = torch.tensor([[3.0, 6.0, 30.0, 39.0], [60.0, 42.0, 72.0, 48.0]])
        torch.testing.assert_close(found, expected)

    @pytest.mark.parametrize('kind', [torch.int64, torch.int32, torch.float16, torch.float64])
    @pytest.mark.parametrize('box_type', [None, 'hbox'])
    def test_boxes_of_any_type_are_moved(
        self, batch: Any, kind: torch.dtype, box_type: str | None
    ) -> None:
        from mmdet.structures.bbox import HorizontalBoxes

        ours = detection()
        ours.ratio = 3 / 7
        corners: Any = torch.tensor([[7, 14, 70, 91], [0, 0, 168, 112]], dtype=kind)
        bboxes = HorizontalBoxes(corners) if box_type else corners
        batch['data_samples'][0].gt_instances = InstanceData(bboxes=bboxes)
        found = ours(batch, True)['data_samples'][0].gt_instances.bboxes
        expected = torch.tensor([[3.0, 6.0, 30.0, 39.0], [0.0, 0.0, 72.0, 48.0]])
        torch.testing.assert_close(found.float(), expected)

    def test_all_boxes_too_small_leaves_an_empty_image(self, batch: Any) -> None:
        ours = detection(min_box_size=1000)
        ours.ratio = 0.5
        sample = ours(batch, True)['data_samples'][0]
        assert len(sample.gt_instances) == 0 and sample.gt_instances.bboxes.shape == (0, 4)
        assert len(sample.gt_instances.masks) == 0

    def test_what_was_given_is_not_changed(self, batch: Any) -> None:
        """Else a replayed sample would be scaled twice."""
        ours = detection()
        ours.ratio = 0.5
        before = copy.deepcopy(batch)
        first = ours(batch, True)
        second = ours(batch, True)
        given = batch['data_samples'][0]
        assert torch.equal(batch['inputs'][0], before['inputs'][0])
        assert torch.equal(
            given.gt_instances.bboxes.tensor, before['data_samples'][0].gt_instances.bboxes.tensor
        )
        assert given.metainfo == before['data_samples'][0].metainfo
        assert torch.equal(first['inputs'], second['inputs'])
        assert torch.equal(
            first['data_samples'][0].gt_instances.bboxes,
            second['data_samples'][0].gt_instances.bboxes,
        )

    def test_a_moved_sample_is_a_copy(self, batch: Any) -> None:
        given = batch['data_samples'][0]
        moved = move_sample(given, Grid(SIZE, (48, 72)), 1.0)
        assert moved.img_shape == (48, 72) and given.img_shape == SIZE
        assert len(moved.gt_instances) == 5 and len(given.gt_instances) == 6

    def test_images_of_several_sizes(self) -> None:
        ours = detection(mode='lanczos')
        ours.ratio = 0.5
        data = detection_batch([2])
        data['inputs'][1] = data['inputs'][1][:, :33, :52]
        out = ours(data, True)
        assert out['inputs'].shape == (2, 3, 32, 32)
        assert [s.img_shape for s in out['data_samples']] == [(32, 32), (16, 26)]

    def test_bfloat16_autocast_changes_nothing(self, batch: Any) -> None:
        for mode in ('fft', 'lanczos'):
            ours = detection(mode=mode)
            ours.ratio = 0.5
            plain = ours(batch, True)
            with torch.autocast('cpu', torch.bfloat16):
                mixed = ours(batch, True)
            assert torch.equal(plain['inputs'], mixed['inputs'])
            masks = [out['data_samples'][0].gt_instances.masks.masks for out in (plain, mixed)]
            assert np.array_equal(*masks)

    def test_what_cannot_be_moved_is_refused(self, batch: Any) -> None:
        ours = detection()
        ours.ratio = 0.5
        batch['data_samples'][0].gt_instances.keypoints = torch.zeros(6, 17, 2)
        with pytest.raises(ValueError, match="holds 'keypoints', which low-frequency cropping"):
            ours(batch, True)
        del batch['data_samples'][0].gt_instances.keypoints
        batch['data_samples'][0].set_metainfo(dict(homography_matrix=np.eye(3)))
        with pytest.raises(ValueError, match="holds 'homography_matrix'"):
            ours(batch, True)

    @pytest.mark.parametrize(
        ('wrong', 'sentence'),
        [
            (
                dict(mode='cubic'),
                "data_preprocessor.mode is 'cubic'; allowed is 'fft' or 'lanczos'",
            ),
            (dict(align='left'), "align is 'left'; allowed is center or corner"),
            (dict(mode='lanczos', align='corner'), "align is 'corner'; allowed is center with"),
            (dict(min_box_size=-1), 'min_box_size is -1; allowed'),
            (
                dict(batch_augments=[dict(type='mmdet.BatchFixedSizePad', size=(64, 64))]),
                'batch_augments has BatchFixedSizePad',
            ),
        ],
    )
    def test_wrong_values_are_named(self, wrong: dict[str, Any], sentence: str) -> None:
        with pytest.raises(ValueError, match=sentence):
            detection(**wrong)


class TestSegmentation:
    @pytest.fixture
    def seg_batch(self) -> dict[str, Any]:
        structures = pytest.importorskip('mmseg.structures', reason='mmseg is not installed')
        shapes = ellipses(5, 96, 36, count=2)
        samples = []
        for shape in shapes:
            labels = np.where(draw(shape, (96, 128)), 3, 0)
            labels[:, 120:] = 255
            sample = structures.SegDataSample(metainfo=dict(img_shape=(96, 128)))
            sample.gt_sem_seg = PixelData(data=torch.from_numpy(labels)[None])
            samples.append(sample)
        images = [torch.rand(3, 96, 128) * 255 for _ in shapes]
        return dict(inputs=images, data_samples=samples, shapes=shapes)

    @pytest.mark.parametrize('padding', [dict(size=(96, 128)), dict(size_divisor=16)])
    def test_maps_and_padding_shrink_with_the_images(self, seg_batch: Any, padding: Any) -> None:
        ours = build('LowFreqSegDataPreprocessor', **padding)
        ours.ratio = 0.5
        out = ours(seg_batch, True)
        assert out['inputs'].shape == (2, 3, 48, 64)
        grid = Grid((96, 128), (48, 64))
        for sample, shape in zip(out['data_samples'], seg_batch['shapes']):
            labels = sample.gt_sem_seg.data[0]
            assert labels.shape == (48, 64) and labels.dtype == torch.long
            assert overlap((labels == 3).numpy(), draw(shape, (96, 128), grid)) >= 0.96
            assert (labels[:, 60:] == 255).all() and not (labels[:, :60] == 255).any()
        assert ours.size == padding.get('size')

    def test_full_size_and_evaluation_are_the_stock_ones(self, seg_batch: Any) -> None:
        settings = dict(size=(96, 128), test_cfg=dict(size_divisor=32))
        stock = build('mmseg.SegDataPreProcessor', **settings)
        for ratio, training in ((1.0, True), (0.5, False)):
            ours = build('LowFreqSegDataPreprocessor', **settings)
            ours.ratio = ratio
            a, b = (p(copy.deepcopy(seg_batch), training) for p in (ours, stock))
            assert torch.equal(a['inputs'], b['inputs'])
            assert all(
                torch.equal(x.gt_sem_seg.data, y.gt_sem_seg.data)
                for x, y in zip(a['data_samples'], b['data_samples'])
            )


def test_neither_mmdet_nor_mmseg_is_imported_by_the_package() -> None:
    """And without them the rest is there, and the error names the one that is missing."""
    code = (
        'import sys\n'
        'for name in ("mmdet", "mmseg", "mmcv"): sys.modules[name] = None\n'
        'import agvm_mm\n'
        'from mmengine.registry import HOOKS, MODELS\n'
        'assert HOOKS.get("CurriculumHook") is agvm_mm.curriculum.CurriculumHook\n'
        'try: MODELS.build(dict(type="LowFreqDetDataPreprocessor"))\n'
        'except ImportError as error: print("missing", "mmdet" in str(error))\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], env=environment(), text=True, capture_output=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-2:] == ['missing', 'True']
