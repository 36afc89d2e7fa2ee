# Purpose:  RetinaNet R18-FPN on COCO 2017 at batch 10240: LARS.
# Hardware: 640 GPUs x 16 images; fewer GPUs accumulate gradients to the same batch.
# Batch:    10240 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr of the SGD recipe; trust_coefficient = 0.01, not tuned.
# Command:  bash tools/dist_train.sh \
#           configs/retinanet/retinanet_r18_fpn_lars_640xb16-12e_coco.py 8
_base_ = './retinanet_r18_fpn_agvm-sgd_640xb16-12e_coco.py'

optim_wrapper = dict(
    type='PartsOptimWrapper',
    optimizer=dict(
        _delete_=True,
        type='LARSOptimizer',
        lr=0.08 * (10240 / 128) ** 0.5,
        momentum=0.9,
        weight_decay=1e-4,
        trust_coefficient=0.01),
    agvm=None,
    clip_grad=None)
