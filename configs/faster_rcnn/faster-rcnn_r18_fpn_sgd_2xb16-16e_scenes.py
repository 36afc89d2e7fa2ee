# Purpose:  a small Faster R-CNN from scratch on generated scenes at a large batch: SGD.
# Hardware: 2 processes x 16 images, or one that accumulates gradients; a CPU will do.
# Batch:    32 images per optimizer update, 200 updates.
# Expected: box AP 9.5 +- 0.6, seeds 0 to 2 (docs/kfac.md).
# Derived:  lr, at which SGD is best (docs/kfac.md).
# Command:  bash tools/dist_train.sh \
#           configs/faster_rcnn/faster-rcnn_r18_fpn_sgd_2xb16-16e_scenes.py 2
_base_ = './faster-rcnn_r18_fpn_agvm-sgd_2xb16-16e_scenes.py'

optim_wrapper = dict(type='PartsOptimWrapper', agvm=None, optimizer=dict(lr=0.04))
