# Purpose:  Faster R-CNN Swin-T on COCO 2017: LAMB.
# Batch:    16 images an update on 8 GPUs x 2; others by rule (docs/recipes.md).
# Command:  bash tools/dist_train.sh \
#           configs/swin/faster-rcnn_swin-t_fpn_lamb_8xb2-12e_coco.py 8
_base_ = [
    '../_base_/models/faster-rcnn_swin-t_fpn.py',
    'mmdet::_base_/datasets/coco_detection.py',
    'mmdet::_base_/default_runtime.py',
    '../_base_/schedules/coco_12e.py',
    '../_base_/methods/lamb.py',
]

optim_wrapper = dict(
    join_groups=True,
    paramwise_cfg=dict(custom_keys={{_base_.layer_decay}}))
auto_scale_lr = dict(rule='sqrt')
