"""List how many of the parameters of known models K-FAC preconditions, and why not the others."""

from __future__ import annotations

import argparse
from collections import Counter

from torch import nn

from agvm_mm.kfac import KFACSettings
from agvm_mm.kfac.find import find_layers
from agvm_runs.errors import exit_with_sentence
from agvm_runs.markdown import markdown_table

CONFIGS = {
    'Faster R-CNN R50': 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    'RetinaNet R50': 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
    'Mask R-CNN R50': 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    'YOLOv3': 'mmdet::yolo/yolov3_d53_8xb8-320-273e_coco.py',
    'YOLOX-s': 'mmdet::yolox/yolox_s_8xb8-300e_coco.py',
    'RTMDet-tiny': 'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py',
    'CenterNet R18': 'mmdet::centernet/centernet_r18-dcnv2_8xb16-crop512-140e_coco.py',
    'DETR R50': 'mmdet::detr/detr_r50_8xb2-150e_coco.py',
    'Deformable DETR R50': 'mmdet::deformable_detr/deformable-detr_r50_16xb2-50e_coco.py',
    'DINO R50': 'mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py',
    'Mask2Former R50': 'mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco.py',
    'DeepLabV3+ R50': 'mmseg::deeplabv3plus/deeplabv3plus_r50-d8_4xb4-80k_ade20k-512x512.py',
    'Semantic FPN R50': 'mmseg::sem_fpn/fpn_r50_4xb4-160k_ade20k-512x512.py',
    'SegFormer B0': 'mmseg::segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py',
    'Segmenter ViT-T': 'mmseg::segmenter/segmenter_vit-t_mask_8xb1-160k_ade20k-512x512.py',
    'Segmenter ViT-S': 'mmseg::segmenter/segmenter_vit-s_mask_8xb1-160k_ade20k-512x512.py',
    'UPerNet Swin-T': (
        'mmseg::swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py'
    ),
}
SHOWN = 0.0005  # of the parameters: what is left of fewer is not listed


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--config',
        dest='configs',
        action='append',
        help='instead of the list, a config as mmdet:: or mmseg:: names it; may be repeated',
    )
    return parser.parse_args()


def main() -> None:
    """Run it."""
    args = parse_args()
    configs = CONFIGS if args.configs is None else {name: name for name in args.configs}
    rows = [coverage(name, build(config)) for name, config in configs.items()]
    print(markdown_table(['model', 'parameters', 'preconditioned', 'left'], rows))


def build(config: str) -> nn.Module:
    """The model of a config with random weights."""
    import mmdet.models  # noqa: F401  they register their models
    import mmseg.models  # noqa: F401
    from mmengine.hub import get_config
    from mmengine.registry import MODELS, DefaultScope

    with DefaultScope.overwrite_default_scope(config.partition('::')[0]):
        model: nn.Module = MODELS.build(get_config(config).model)
    return model


def coverage(name: str, model: nn.Module) -> list[str]:
    """A row: trainable parameters, the share that is preconditioned, the reasons for the rest."""
    found = find_layers(model, KFACSettings())
    sizes = {key: p.numel() for key, p in model.named_parameters() if p.requires_grad}
    total, left = sum(sizes.values()), Counter[str]()
    for key, reason in found.left.items():
        left[reason] += sizes[key]
    shown = [
        f'{reason} ({size / total:.3f})'
        for reason, size in left.most_common()
        if size / total >= SHOWN
    ]
    share = sum(helper.size for helper in found.helpers) / total
    return [name, f'{total / 1e6:.1f} million', f'{share:.3f}', '; '.join(shown)]


if __name__ == '__main__':
    with exit_with_sentence():
        main()
