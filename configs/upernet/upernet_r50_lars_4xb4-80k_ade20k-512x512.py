# Purpose:  UPerNet R50 on ADE20K at batch 16: LARS.
# Hardware: 4 GPUs x 4 images; fewer GPUs accumulate gradients to the same batch, with SyncBN over
#           fewer images.
# Batch:    16 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr of the SGD recipe; trust_coefficient = 0.01, not tuned.
# Command:  bash tools/dist_train.sh \
#           configs/upernet/upernet_r50_lars_4xb4-80k_ade20k-512x512.py 8
_base_ = './upernet_r50_agvm-sgd_4xb4-80k_ade20k-512x512.py'

optim_wrapper = dict(
    type='PartsOptimWrapper',
    optimizer=dict(
        _delete_=True,
        type='LARSOptimizer',
        lr=0.01,
        momentum=0.9,
        weight_decay=5e-4,
        trust_coefficient=0.01),
    agvm=None,
    clip_grad=None)
