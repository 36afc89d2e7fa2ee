# Purpose:  Faster R-CNN NF-R50-FPN on COCO 2017: AGVM on SGD with adaptive gradient clipping.
# Batch:    16 images an update on 8 GPUs x 2; others by rule (docs/recipes.md).
# Command:  bash tools/dist_train.sh \
#           configs/nf_resnet/faster-rcnn_nf-r50_fpn_agvm-sgd-agc_8xb2-12e_coco.py 8
_base_ = [
    '../_base_/models/faster-rcnn_nf-r50_fpn.py',
    'mmdet::_base_/datasets/coco_detection.py',
    'mmdet::_base_/default_runtime.py',
    '../_base_/schedules/coco_12e.py',
    '../_base_/methods/agvm-sgd-agc.py',
]
