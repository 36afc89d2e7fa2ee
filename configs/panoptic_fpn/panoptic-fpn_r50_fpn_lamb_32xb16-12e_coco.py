# Purpose:  Panoptic FPN R50 on COCO 2017 at batch 512: LAMB.
# Hardware: 32 GPUs x 16 images; fewer GPUs accumulate gradients to the same batch.
# Batch:    512 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr = 0.005 at batch 512, square root for others; weight_decay = 0.01; neither is tuned.
# Command:  bash tools/dist_train.sh \
#           configs/panoptic_fpn/panoptic-fpn_r50_fpn_lamb_32xb16-12e_coco.py 8
_base_ = './panoptic-fpn_r50_fpn_agvm-sgd_32xb16-12e_coco.py'

optim_wrapper = dict(
    type='PartsOptimWrapper',
    optimizer=dict(
        _delete_=True,
        type='LAMBOptimizer',
        lr=0.005,
        weight_decay=0.01),
    agvm=None,
    clip_grad=None)
