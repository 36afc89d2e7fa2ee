# Purpose:  Faster R-CNN Swin-T on COCO 2017 at batch 32: plain AdamW, the baseline of AGVM on
#           AdamW.
# Hardware: 8 GPUs x 4 images; fewer GPUs accumulate gradients to the same batch.
# Batch:    32 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr = 1e-4 at batch 16 and weight_decay = 0.05 (mmdet's Swin recipes), square root for
#           others; layer decay 0.8 per stage.
# Command:  bash tools/dist_train.sh \
#           configs/swin/faster-rcnn_swin-t_fpn_adamw_8xb4-12e_coco.py 8
_base_ = './faster-rcnn_swin-t_fpn_agvm-adamw_8xb4-12e_coco.py'

optim_wrapper = dict(type='PartsOptimWrapper', agvm=None, join_groups=True)
