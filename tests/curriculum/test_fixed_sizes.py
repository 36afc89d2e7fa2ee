"""Networks whose layers have a fixed size: they train at the ratio 3/7, or one sentence says no."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.hooks import Hook
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from torch.utils.data import DataLoader

pytest.importorskip('mmcv._ext', reason='mmdet needs the compiled ops of mmcv')

STAGES = [dict(share=0.4, ratio=3 / 7), dict(share=0.6, ratio=1.0)]
RESNET = dict(type='ResNet', depth=18, base_channels=8, norm_eval=False)
FPN = dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=16, num_outs=5)
ANCHORS = dict(
    type='AnchorGenerator',
    octave_base_scale=4,
    scales_per_octave=1,
    ratios=[1.0],
    strides=[8, 16, 32, 64, 128],
)
RETINA = dict(
    type='RetinaHead',
    num_classes=3,
    in_channels=16,
    stacked_convs=1,
    feat_channels=16,
    anchor_generator=ANCHORS,
)
TRAIN = dict(
    assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0),
    allowed_border=-1,
    pos_weight=-1,
)


def retinanet(backbone: dict[str, Any], channels: list[int]) -> dict[str, Any]:
    neck = {**FPN, 'in_channels': channels}
    return dict(
        type='RetinaNet', backbone=backbone, neck=neck, bbox_head=RETINA, train_cfg=TRAIN,
        test_cfg=dict(),
    )  # fmt: skip


def ssd() -> dict[str, Any]:
    """SSD300 behind a ResNet: strides 8, 16, then 32, 64, 100, 300 without padding at the end."""
    channels = (16, 32, 32, 16, 16, 16)
    return dict(
        type='SingleStageDetector',
        backbone={**RESNET, 'out_indices': (1, 2)},
        neck=dict(
            type='SSDNeck',
            in_channels=channels[:2],
            out_channels=channels,
            level_strides=(2, 2, 1, 1),
            level_paddings=(1, 1, 0, 0),
            l2_norm_scale=None,
        ),
        bbox_head=dict(
            type='SSDHead',
            num_classes=3,
            in_channels=channels,
            anchor_generator=dict(
                type='SSDAnchorGenerator',
                scale_major=False,
                input_size=300,
                basesize_ratio_range=(0.15, 0.9),
                strides=[8, 16, 32, 64, 100, 300],
                ratios=[[2], [2, 3], [2, 3], [2, 3], [2], [2]],
            ),
            bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
        ),
        train_cfg=dict(**TRAIN, smoothl1_beta=1.0, neg_pos_ratio=3),
        test_cfg=dict(),
    )


def yolox() -> dict[str, Any]:
    return dict(
        type='YOLOX',
        backbone=dict(type='CSPDarknet', deepen_factor=0.33, widen_factor=0.125),
        neck=dict(type='YOLOXPAFPN', in_channels=[32, 64, 128], out_channels=16, num_csp_blocks=1),
        bbox_head=dict(type='YOLOXHead', num_classes=3, in_channels=16, feat_channels=16),
        train_cfg=dict(assigner=dict(type='SimOTAAssigner', center_radius=2.5)),
        test_cfg=dict(),
    )


def segmenter(backbone: dict[str, Any], channels: int, index: int = -1) -> dict[str, Any]:
    head = dict(
        type='FCNHead', in_channels=channels, in_index=index, channels=8, num_convs=1,
        num_classes=3, norm_cfg=dict(type='BN'),
    )  # fmt: skip
    return dict(type='EncoderDecoder', backbone=backbone, decode_head=head)


VIT = dict(img_size=64, patch_size=16, embed_dims=16, num_layers=1, num_heads=2, out_indices=[0])
SWIN = dict(embed_dims=8, depths=(2, 2, 2, 2), num_heads=(1, 1, 1, 1), window_size=7)
PVT = dict(
    type='PyramidVisionTransformer', embed_dims=8, num_layers=[1, 1, 1, 1], num_heads=[1, 1, 1, 1],
    pretrain_img_size=64,
)  # fmt: skip
NETWORKS = {
    'Swin windows': ('mmdet', 64, retinanet(dict(type='SwinTransformer', **SWIN), [8, 16, 32, 64])),
    'PVT': ('mmdet', 64, retinanet(PVT, [8, 8, 8, 8])),
    'EfficientDet without pads': (
        'mmdet',
        64,
        retinanet(dict(type='EfficientNet', arch='b0', out_indices=(3, 4, 5)), [40, 112, 320]),
    ),
    'YOLOX without resizing': ('mmdet', 64, yolox()),
    'ViT': ('mmseg', 64, segmenter(dict(type='VisionTransformer', **VIT), 16)),
    'Swin of mmseg': ('mmseg', 64, segmenter(dict(type='SwinTransformer', **SWIN), 64, 3)),
    'Twins': (
        'mmseg',
        128,
        segmenter(
            dict(
                type='PCPVT', embed_dims=[8, 8, 8, 8], num_heads=[1] * 4, depths=[1] * 4,
                mlp_ratios=[2] * 4, qkv_bias=True, norm_after_stage=False,
            ),
            8,
            3,
        ),
    ),
}  # fmt: skip
REFUSED = {
    'SSD300': ('mmdet', 300, ssd()),
    'BEiT': ('mmseg', 64, segmenter(dict(type='BEiT', **VIT), 16)),
    'MAE': ('mmseg', 64, segmenter(dict(type='MAE', **VIT), 16)),
}


class Sizes(Hook):
    """The sides of the images of the iterations, and their losses."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, float]] = []

    def before_train(self, runner: Runner) -> None:
        preprocessor = runner.model.data_preprocessor
        preprocessor.register_forward_hook(self._note)

    def _note(self, module: Any, args: Any, output: Any) -> None:
        self._side = output['data_samples'][0].img_shape[0]

    def after_train_iter(self, runner: Any, batch_idx: int, outputs: Any = None, **_: Any) -> None:
        self.rows.append((self._side, float(outputs['loss'])))


def train(folder: Path, zoo: str, side: int, model: dict[str, Any]) -> list[tuple[int, float]]:
    kind = 'Det' if zoo == 'mmdet' else 'Seg'
    preprocessor = dict(type=f'LowFreq{kind}DataPreprocessor')
    if kind == 'Seg':
        preprocessor['size'] = (side, side)
    else:
        preprocessor['pad_size_divisor'] = 1 if side == 300 else 32
    __import__(f'{zoo}.models')
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(zoo):
        network = MODELS.build(ConfigDict(model, data_preprocessor=preprocessor))
    example = detection_example if kind == 'Det' else segmentation_example
    sizes = Sizes()
    Runner(
        network,
        str(folder),
        train_dataloader=DataLoader(
            [example(side, seed) for seed in range(8)], batch_size=2, collate_fn=pseudo_collate
        ),
        train_cfg=dict(by_epoch=False, max_iters=1),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1e-4)),
        custom_hooks=[dict(type='CurriculumHook', stages=STAGES), sizes],
        default_hooks=dict(
            param_scheduler=dict(type='ComputeParamSchedulerHook'), logger=None, checkpoint=None
        ),
        default_scope=zoo,
        experiment_name=folder.name,
        log_level='ERROR',
    ).train()
    return sizes.rows


def detection_example(side: int, seed: int) -> dict[str, Any]:
    from mmdet.structures import DetDataSample
    from mmdet.structures.bbox import HorizontalBoxes
    from mmengine.structures import InstanceData

    shape = (side, side)
    sample = DetDataSample(metainfo=dict(img_shape=shape, ori_shape=shape, img_id=seed))
    boxes = torch.tensor([[2.0, 4.0, 40.0, 44.0], [20.0, 10.0, 60.0, 50.0]])
    sample.gt_instances = InstanceData(bboxes=HorizontalBoxes(boxes), labels=torch.tensor([0, 2]))
    return dict(inputs=image(side, seed), data_samples=sample)


def segmentation_example(side: int, seed: int) -> dict[str, Any]:
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    sample = SegDataSample(metainfo=dict(img_shape=(side, side), ori_shape=(side, side)))
    labels = torch.zeros(1, side, side, dtype=torch.long)
    labels[:, side // 2 :] = 2
    sample.gt_sem_seg = PixelData(data=labels)
    return dict(inputs=image(side, seed), data_samples=sample)


def image(side: int, seed: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(0, 256, (3, side, side), dtype=np.uint8))


@pytest.mark.parametrize('name', list(NETWORKS))
def test_a_network_trains_at_three_sevenths(name: str, tmp_path: Path) -> None:
    """At 2 round(3/7 x side/2) pixels, of 64 28 and of 128 54.

    One iteration becomes 0.4 x 49/9 + 0.6 = 2.8, of which 0.4 x 49/9 / 2.8 = 78 % are small.
    """
    side = NETWORKS[name][1]
    small = {64: 28, 128: 54}[side]
    rows = train(tmp_path, *NETWORKS[name])
    assert [side for side, _ in rows] == [small, small, side]
    assert all(np.isfinite(loss) for _, loss in rows)


def test_detr_trains_at_three_sevenths(tmp_path: Path) -> None:
    from lab.architectures.small import small_config

    model = small_config('DETR')
    del model['data_preprocessor']
    assert [side for side, _ in train(tmp_path, 'mmdet', 64, model)] == [28, 28, 64]


@pytest.mark.parametrize('name', list(REFUSED))
def test_a_network_of_a_fixed_size_is_refused_at_the_start(name: str, tmp_path: Path) -> None:
    sentence = r'CurriculumHook.stages has the ratio 0.429, at which \w+ cannot train \(.*\); allo'
    with pytest.raises(ValueError, match=sentence):
        train(tmp_path, *REFUSED[name])


def test_what_fails_at_full_size_too_keeps_its_error(tmp_path: Path) -> None:
    model = segmenter(dict(type='VisionTransformer', **VIT), 17)  # the head expects 17 channels
    with pytest.raises(RuntimeError, match='channels'):
        train(tmp_path, 'mmseg', 64, model)
