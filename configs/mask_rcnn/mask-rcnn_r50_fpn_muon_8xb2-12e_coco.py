# Purpose:  Mask R-CNN R50-FPN on COCO 2017: Muon.
# Batch:    16 images an update on 8 GPUs x 2; others by rule (docs/recipes.md).
# Command:  bash tools/dist_train.sh \
#           configs/mask_rcnn/mask-rcnn_r50_fpn_muon_8xb2-12e_coco.py 8
_base_ = [
    'mmdet::_base_/models/mask-rcnn_r50_fpn.py',
    'mmdet::_base_/datasets/coco_instance.py',
    'mmdet::_base_/default_runtime.py',
    '../_base_/schedules/coco_12e.py',
    '../_base_/methods/muon.py',
]

auto_scale_lr = dict(rule='sqrt')
