# Purpose:  Faster R-CNN R50-FPN on COCO 2017 at batch 32: AGVM on AdamW.
# Hardware: 8 GPUs x 4 images; fewer GPUs accumulate gradients to the same batch.
# Batch:    32 images per optimizer update; lengths in iterations count updates.
# Expected: box AP 37.1 (secondary source; the settings of that run are not known).
# Derived:  lr = 2e-4 at batch 16 (mmdet's AdamW recipe of this detector), square root for others;
#           weight_decay = 0.05; begin = end of the warm-up (2 epochs) + min(100 updates, half an
#           epoch).
# Command:  bash tools/dist_train.sh \
#           configs/faster_rcnn/faster-rcnn_r50_fpn_agvm-adamw_8xb4-12e_coco.py 8
_base_ = './faster-rcnn_r50_fpn_agvm-sgd_8xb4-12e_coco.py'

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=2e-4 * (32 / 16) ** 0.5, weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0),
    agvm=dict(precondition=True),  # measure the gradient as AdamW scales it
    clip_grad=None)
