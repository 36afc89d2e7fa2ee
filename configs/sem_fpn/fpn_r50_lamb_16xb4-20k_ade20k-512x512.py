# Purpose:  Semantic FPN R50 on ADE20K at batch 64: LAMB.
# Hardware: 16 GPUs x 4 images; fewer GPUs accumulate gradients to the same batch, with SyncBN over
#           fewer images.
# Batch:    64 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr = 0.005 at batch 512, square root for others; weight_decay = 0.01; neither is tuned.
# Command:  bash tools/dist_train.sh \
#           configs/sem_fpn/fpn_r50_lamb_16xb4-20k_ade20k-512x512.py 8
_base_ = './fpn_r50_agvm-sgd_16xb4-20k_ade20k-512x512.py'

optim_wrapper = dict(
    type='PartsOptimWrapper',
    optimizer=dict(
        _delete_=True,
        type='LAMBOptimizer',
        lr=0.005 * (64 / 512) ** 0.5,
        weight_decay=0.01),
    agvm=None,
    clip_grad=None)
