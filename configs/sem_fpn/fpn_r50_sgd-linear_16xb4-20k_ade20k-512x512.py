# Purpose:  Semantic FPN R50 on ADE20K at batch 64: SGD with linear scaling of lr.
# Hardware: 16 GPUs x 4 images; fewer GPUs accumulate gradients to the same batch, with SyncBN over
#           fewer images.
# Batch:    64 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr = 0.01 per 16 images.
# Command:  bash tools/dist_train.sh \
#           configs/sem_fpn/fpn_r50_sgd-linear_16xb4-20k_ade20k-512x512.py 8
_base_ = './fpn_r50_agvm-sgd_16xb4-20k_ade20k-512x512.py'

optim_wrapper = dict(type='PartsOptimWrapper', agvm=None, optimizer=dict(lr=0.01 * 64 / 16))
