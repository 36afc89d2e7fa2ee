# Purpose:  Panoptic FPN R50 on COCO 2017 at batch 512: SGD with linear scaling of lr.
# Hardware: 32 GPUs x 16 images; fewer GPUs accumulate gradients to the same batch.
# Batch:    512 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr = 0.02 per 16 images.
# Command:  bash tools/dist_train.sh \
#           configs/panoptic_fpn/panoptic-fpn_r50_fpn_sgd-linear_32xb16-12e_coco.py 8
_base_ = './panoptic-fpn_r50_fpn_agvm-sgd_32xb16-12e_coco.py'

optim_wrapper = dict(type='PartsOptimWrapper', agvm=None, optimizer=dict(lr=0.02 * 512 / 16))
