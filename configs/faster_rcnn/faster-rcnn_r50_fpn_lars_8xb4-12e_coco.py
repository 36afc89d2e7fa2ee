# Purpose:  Faster R-CNN R50-FPN on COCO 2017 at batch 32: LARS.
# Hardware: 8 GPUs x 4 images; fewer GPUs accumulate gradients to the same batch.
# Batch:    32 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr of the SGD recipe; trust_coefficient = 0.01, not tuned.
# Command:  bash tools/dist_train.sh \
#           configs/faster_rcnn/faster-rcnn_r50_fpn_lars_8xb4-12e_coco.py 8
_base_ = './faster-rcnn_r50_fpn_agvm-sgd_8xb4-12e_coco.py'

optim_wrapper = dict(
    type='PartsOptimWrapper',
    optimizer=dict(
        _delete_=True,
        type='LARSOptimizer',
        lr=0.02 * 32 / 16,
        momentum=0.9,
        weight_decay=1e-4,
        trust_coefficient=0.01),
    agvm=None,
    clip_grad=None)
