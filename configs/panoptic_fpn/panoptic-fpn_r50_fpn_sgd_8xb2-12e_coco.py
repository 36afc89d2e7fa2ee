# Purpose:  Panoptic FPN R50 on COCO 2017: SGD.
# Batch:    16 images an update on 8 GPUs x 2; others by rule (docs/recipes.md).
# Command:  bash tools/dist_train.sh \
#           configs/panoptic_fpn/panoptic-fpn_r50_fpn_sgd_8xb2-12e_coco.py 8
_base_ = [
    '../_base_/models/panoptic-fpn_r50_fpn.py',
    'mmdet::_base_/datasets/coco_panoptic.py',
    'mmdet::_base_/default_runtime.py',
    '../_base_/schedules/coco_12e.py',
    '../_base_/methods/sgd.py',
]
