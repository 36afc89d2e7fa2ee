# Purpose:  Semantic FPN NF-R50 on ADE20K at batch 256: SGD with adaptive gradient clipping, the
#           AGVM recipe without AGVM.
# Hardware: 64 GPUs x 4 images; fewer GPUs accumulate gradients to the same batch, exactly: no batch
#           statistics.
# Batch:    256 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr = 0.01 at batch 16 (mmseg), square root for others; clip_factor = 0.01; nothing is
#           tuned.
# Command:  bash tools/dist_train.sh \
#           configs/nf_resnet/fpn_nf-r50_sgd-agc_64xb4-5k_ade20k-512x512.py 8
_base_ = './fpn_nf-r50_agvm-sgd-agc_64xb4-5k_ade20k-512x512.py'

optim_wrapper = dict(type='PartsOptimWrapper', agvm=None, join_groups=True)
