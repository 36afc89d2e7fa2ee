"""List how many of the parameters of known models K-FAC preconditions, and why not the others."""

from __future__ import annotations

import argparse
from collections import Counter
from typing import Any

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
    'UPerNet Swin-T': (
        'mmseg::swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py'
    ),
}
