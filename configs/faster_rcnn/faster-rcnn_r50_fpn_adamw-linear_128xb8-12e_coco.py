# Purpose:  Faster R-CNN R50-FPN on COCO 2017 at batch 1024: AdamW with linear scaling of lr.
# Hardware: 128 GPUs x 8 images; fewer GPUs accumulate gradients to the same batch.
# Batch:    1024 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr = 2e-4 per 16 images (mmdet's AdamW recipe of this detector); weight_decay = 0.05.
# Command:  bash tools/dist_train.sh \
#           configs/faster_rcnn/faster-rcnn_r50_fpn_adamw-linear_128xb8-12e_coco.py 8
_base_ = './faster-rcnn_r50_fpn_agvm-adamw_128xb8-12e_coco.py'

optim_wrapper = dict(
    type='PartsOptimWrapper',
    agvm=None,
    join_groups=True,
    optimizer=dict(lr=2e-4 * 1024 / 16))
