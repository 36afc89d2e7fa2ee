# Purpose:  Faster R-CNN R50-FPN on COCO 2017 at batch 32: plain AdamW, the baseline of AGVM on
#           AdamW.
# Hardware: 8 GPUs x 4 images; fewer GPUs accumulate gradients to the same batch.
# Batch:    32 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr = 2e-4 at batch 16 (mmdet's AdamW recipe of this detector), square root for others;
#           weight_decay = 0.05.
# Command:  bash tools/dist_train.sh \
#           configs/faster_rcnn/faster-rcnn_r50_fpn_adamw_8xb4-12e_coco.py 8
_base_ = './faster-rcnn_r50_fpn_agvm-adamw_8xb4-12e_coco.py'

optim_wrapper = dict(type='PartsOptimWrapper', agvm=None, join_groups=True)
