# Purpose:  Cascade Mask R-CNN Swin-L on COCO 2017 at batch 960: LAMB.
# Hardware: 480 GPUs x 2 images; fewer GPUs accumulate gradients to the same batch.
# Batch:    960 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr = 0.005 at batch 512, square root for others; weight_decay = 0.01; neither is tuned.
# Command:  bash tools/dist_train.sh \
#           configs/cascade_rcnn/cascade-mask-rcnn_swin-l_fpn_lamb_480xb2-11e-amp_coco.py 8
_base_ = './cascade-mask-rcnn_swin-l_fpn_agvm-adamw_480xb2-11e-amp_coco.py'

optim_wrapper = dict(
    type='PartsAmpOptimWrapper',
    optimizer=dict(
        _delete_=True,
        type='LAMBOptimizer',
        lr=0.005 * (960 / 512) ** 0.5,
        weight_decay=0.01),
    agvm=None,
    join_groups=True,
    clip_grad=None)
