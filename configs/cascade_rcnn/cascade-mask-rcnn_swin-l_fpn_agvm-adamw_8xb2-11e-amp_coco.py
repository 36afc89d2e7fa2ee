# Purpose:  Cascade Mask R-CNN Swin-L on COCO 2017: AGVM on AdamW.
# Batch:    16 images an update on 8 GPUs x 2; others by rule (docs/recipes.md).
# Command:  bash tools/dist_train.sh \
#           configs/cascade_rcnn/cascade-mask-rcnn_swin-l_fpn_agvm-adamw_8xb2-11e-amp_coco.py 8
_base_ = [
    '../_base_/models/cascade-mask-rcnn_swin-l_fpn.py',
    'mmdet::_base_/datasets/coco_instance.py',
    'mmdet::_base_/default_runtime.py',
    '../_base_/schedules/coco_11e.py',
    '../_base_/methods/agvm-adamw.py',
]

optim_wrapper = dict(
    type='AGVMAmpOptimWrapper',
    loss_scale='dynamic',
    optimizer=dict(lr=1e-4),  # mmdet's Swin recipes
    paramwise_cfg=dict(custom_keys={{_base_.undecayed}}))
auto_scale_lr = dict(rule='sqrt')
