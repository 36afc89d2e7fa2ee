# Purpose:  Faster R-CNN R50-FPN on COCO 2017 at batch 512: K-FAC on SGD, without AGVM.
# Hardware: 32 GPUs x 16 images; fewer GPUs accumulate gradients to the same batch.
# Batch:    512 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  all of the recipe with both.
# Command:  bash tools/dist_train.sh \
#           configs/faster_rcnn/faster-rcnn_r50_fpn_kfac-sgd_32xb16-12e_coco.py 8
_base_ = './faster-rcnn_r50_fpn_agvm-kfac-sgd_32xb16-12e_coco.py'

optim_wrapper = dict(type='PartsOptimWrapper', agvm=None)
