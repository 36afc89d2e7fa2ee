# Purpose:  Faster R-CNN Swin-T on COCO 2017 at batch 256: AdamW with linear scaling of lr.
# Hardware: 16 GPUs x 16 images; fewer GPUs accumulate gradients to the same batch.
# Batch:    256 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr = 1e-4 per 16 images and weight_decay = 0.05 (mmdet's Swin recipes); layer decay 0.8
#           per stage.
# Command:  bash tools/dist_train.sh \
#           configs/swin/faster-rcnn_swin-t_fpn_adamw-linear_16xb16-12e_coco.py 8
_base_ = './faster-rcnn_swin-t_fpn_agvm-adamw_16xb16-12e_coco.py'

optim_wrapper = dict(
    type='PartsOptimWrapper',
    agvm=None,
    join_groups=True,
    optimizer=dict(lr=1e-4 * 256 / 16))
