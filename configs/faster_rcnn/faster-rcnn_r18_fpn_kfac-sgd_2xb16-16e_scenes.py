# Purpose:  a small Faster R-CNN from scratch on generated scenes at a large batch: K-FAC on SGD,
#           without AGVM.
# Hardware: 2 processes x 16 images, or one that accumulates gradients; a CPU will do.
# Batch:    32 images per optimizer update, 200 updates.
# Expected: box AP 33.5 +- 1.8, seeds 0 to 2 (docs/kfac.md).
# Derived:  lr, searched (docs/kfac.md); the rest of the recipe with both.
# Command:  bash tools/dist_train.sh \
#           configs/faster_rcnn/faster-rcnn_r18_fpn_kfac-sgd_2xb16-16e_scenes.py 2
_base_ = './faster-rcnn_r18_fpn_agvm-kfac-sgd_2xb16-16e_scenes.py'

optim_wrapper = dict(type='PartsOptimWrapper', agvm=None)
