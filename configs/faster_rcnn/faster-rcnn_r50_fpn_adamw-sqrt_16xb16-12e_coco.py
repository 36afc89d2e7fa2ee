# Purpose:  Faster R-CNN R50-FPN on COCO 2017 at batch 256: AdamW with the lr of the AGVM recipe,
#           that recipe without AGVM.
# Hardware: 16 GPUs x 16 images; fewer GPUs accumulate gradients to the same batch.
# Batch:    256 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr = 2e-4 at batch 16 (mmdet's AdamW recipe of this detector), square root for others;
#           weight_decay = 0.05.
# Command:  bash tools/dist_train.sh \
#           configs/faster_rcnn/faster-rcnn_r50_fpn_adamw-sqrt_16xb16-12e_coco.py 8
_base_ = './faster-rcnn_r50_fpn_agvm-adamw_16xb16-12e_coco.py'

optim_wrapper = dict(type='PartsOptimWrapper', agvm=None, join_groups=True)
