# Purpose:  Faster R-CNN NF-R50-FPN on COCO 2017 at batch 512: SGD with adaptive gradient clipping,
#           the AGVM recipe without AGVM.
# Hardware: 32 GPUs x 16 images; fewer GPUs accumulate gradients to the same batch, exactly: no
#           batch statistics.
# Batch:    512 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr = 0.02 per 16 images up to batch 128, square root beyond; clip_factor = 0.01; nothing
#           is tuned.
# Command:  bash tools/dist_train.sh \
#           configs/nf_resnet/faster-rcnn_nf-r50_fpn_sgd-agc_32xb16-12e_coco.py 8
_base_ = './faster-rcnn_nf-r50_fpn_agvm-sgd-agc_32xb16-12e_coco.py'

optim_wrapper = dict(type='PartsOptimWrapper', agvm=None, join_groups=True)
