# Purpose:  Semantic FPN R50 on ADE20K at batch 256: SGD with the lr of the AGVM recipe, that recipe
#           without AGVM.
# Hardware: 64 GPUs x 4 images; fewer GPUs accumulate gradients to the same batch, with SyncBN over
#           fewer images.
# Batch:    256 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr = 0.01 at batch 16 (mmseg), square root for others.
# Command:  bash tools/dist_train.sh \
#           configs/sem_fpn/fpn_r50_sgd-sqrt_64xb4-5k_ade20k-512x512.py 8
_base_ = './fpn_r50_agvm-sgd_64xb4-5k_ade20k-512x512.py'

optim_wrapper = dict(type='PartsOptimWrapper', agvm=None)
