# Purpose:  Semantic FPN NF-R50 on ADE20K at batch 1024: LARS.
# Hardware: 256 GPUs x 4 images; fewer GPUs accumulate gradients to the same batch, exactly: no
#           batch statistics.
# Batch:    1024 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr of the SGD recipe; trust_coefficient = 0.01, not tuned; no clipping, the trust ratio
#           bounds the step.
# Command:  bash tools/dist_train.sh \
#           configs/nf_resnet/fpn_nf-r50_lars_256xb4-1250it_ade20k-512x512.py 8
_base_ = './fpn_nf-r50_agvm-sgd-agc_256xb4-1250it_ade20k-512x512.py'

optim_wrapper = dict(
    type='PartsOptimWrapper',
    optimizer=dict(
        _delete_=True,
        type='LARSOptimizer',
        lr=0.01 * (1024 / 16) ** 0.5,
        momentum=0.9,
        weight_decay=5e-4,
        trust_coefficient=0.01),
    agvm=None,
    join_groups=True,
    clip_grad=None)
