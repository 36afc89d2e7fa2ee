# Purpose:  UPerNet R50 on ADE20K at batch 16: plain SGD, the baseline of AGVM on SGD.
# Hardware: 4 GPUs x 4 images; fewer GPUs accumulate gradients to the same batch, with SyncBN over
#           fewer images.
# Batch:    16 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr = 0.01 at batch 16 (mmseg).
# Command:  bash tools/dist_train.sh \
#           configs/upernet/upernet_r50_sgd_4xb4-80k_ade20k-512x512.py 8
_base_ = './upernet_r50_agvm-sgd_4xb4-80k_ade20k-512x512.py'

optim_wrapper = dict(type='PartsOptimWrapper', agvm=None)
