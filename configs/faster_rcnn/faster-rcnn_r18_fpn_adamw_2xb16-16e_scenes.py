# Purpose:  a small Faster R-CNN from scratch on generated scenes at a large batch: AdamW.
# Hardware: 2 processes x 16 images, or one that accumulates gradients; a CPU will do.
# Batch:    32 images per optimizer update, 200 updates.
# Expected: box AP 18.0 +- 2.0, seeds 0 to 2 (docs/kfac.md).
# Derived:  lr, searched (docs/kfac.md); weight decay that of the miniature.
# Command:  bash tools/dist_train.sh \
#           configs/faster_rcnn/faster-rcnn_r18_fpn_adamw_2xb16-16e_scenes.py 2
_base_ = './faster-rcnn_r18_fpn_sgd_2xb16-16e_scenes.py'

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=4e-3, weight_decay=0.05))
