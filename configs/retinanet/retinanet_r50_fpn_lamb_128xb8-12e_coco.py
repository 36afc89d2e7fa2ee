# Purpose:  RetinaNet R50-FPN on COCO 2017 at batch 1024: LAMB.
# Hardware: 128 GPUs x 8 images; fewer GPUs accumulate gradients to the same batch.
# Batch:    1024 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr = 0.005 at batch 512, square root for others; weight_decay = 0.01; neither is tuned.
# Command:  bash tools/dist_train.sh \
#           configs/retinanet/retinanet_r50_fpn_lamb_128xb8-12e_coco.py 8
_base_ = './retinanet_r50_fpn_agvm-sgd_128xb8-12e_coco.py'

optim_wrapper = dict(
    type='PartsOptimWrapper',
    optimizer=dict(
        _delete_=True,
        type='LAMBOptimizer',
        lr=0.005 * (1024 / 512) ** 0.5,
        weight_decay=0.01),
    agvm=None,
    clip_grad=None)
