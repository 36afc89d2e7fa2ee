# Purpose:  RetinaNet NF-R50-FPN on COCO 2017 at batch 1536: LARS.
# Hardware: 768 GPUs x 2 images; fewer GPUs accumulate gradients to the same batch, exactly: no
#           batch statistics.
# Batch:    1536 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr of the SGD recipe; trust_coefficient = 0.01, not tuned; no clipping, the trust ratio
#           bounds the step.
# Command:  bash tools/dist_train.sh \
#           configs/nf_resnet/retinanet_nf-r50_fpn_lars_768xb2-12e_coco.py 8
_base_ = './retinanet_nf-r50_fpn_agvm-sgd-agc_768xb2-12e_coco.py'

optim_wrapper = dict(
    type='PartsOptimWrapper',
    optimizer=dict(
        _delete_=True,
        type='LARSOptimizer',
        lr=0.08 * (1536 / 128) ** 0.5,
        momentum=0.9,
        weight_decay=1e-4,
        trust_coefficient=0.01),
    agvm=None,
    join_groups=True,
    clip_grad=None)
