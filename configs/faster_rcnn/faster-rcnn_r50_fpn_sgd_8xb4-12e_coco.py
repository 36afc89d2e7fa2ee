# Purpose:  Faster R-CNN R50-FPN on COCO 2017 at batch 32: plain SGD, the baseline of AGVM on SGD.
# Hardware: 8 GPUs x 4 images; fewer GPUs accumulate gradients to the same batch.
# Batch:    32 images per optimizer update; lengths in iterations count updates.
# Expected: box AP 37.1, the baseline in the authors' README (its config was not released).
# Derived:  lr = 0.02 per 16 images.
# Command:  bash tools/dist_train.sh \
#           configs/faster_rcnn/faster-rcnn_r50_fpn_sgd_8xb4-12e_coco.py 8
_base_ = './faster-rcnn_r50_fpn_agvm-sgd_8xb4-12e_coco.py'

optim_wrapper = dict(type='PartsOptimWrapper', agvm=None)
