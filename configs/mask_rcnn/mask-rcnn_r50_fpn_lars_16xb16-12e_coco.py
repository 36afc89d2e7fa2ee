# Purpose:  Mask R-CNN R50-FPN on COCO 2017 at batch 256: LARS.
# Hardware: 16 GPUs x 16 images; fewer GPUs accumulate gradients to the same batch.
# Batch:    256 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr of the SGD recipe; trust_coefficient = 0.01, not tuned.
# Command:  bash tools/dist_train.sh \
#           configs/mask_rcnn/mask-rcnn_r50_fpn_lars_16xb16-12e_coco.py 8
_base_ = './mask-rcnn_r50_fpn_agvm-sgd_16xb16-12e_coco.py'

optim_wrapper = dict(
    type='PartsOptimWrapper',
    optimizer=dict(
        _delete_=True,
        type='LARSOptimizer',
        lr=0.16 * (256 / 128) ** 0.5,
        momentum=0.9,
        weight_decay=1e-4,
        trust_coefficient=0.01),
    agvm=None,
    clip_grad=None)
