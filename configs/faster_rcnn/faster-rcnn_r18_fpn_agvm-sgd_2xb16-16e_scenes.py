# Purpose:  a small Faster R-CNN from scratch on generated scenes at a large batch: AGVM on SGD.
# Hardware: 2 processes x 16 images, or one that accumulates gradients; a CPU will do.
# Batch:    32 images per optimizer update, 200 updates.
# Expected: box AP 7.5 +- 0.9, seeds 0 to 2 (docs/kfac.md).
# Derived:  lr as at batch 8; training breaks down at twice as much (docs/kfac.md).
# Command:  bash tools/dist_train.sh \
#           configs/faster_rcnn/faster-rcnn_r18_fpn_agvm-sgd_2xb16-16e_scenes.py 2
_base_ = './faster-rcnn_r18_fpn_agvm-sgd_2xb4-10e_scenes.py'

total_batch_size = 32
train_dataloader = dict(batch_size=16)

optim_wrapper = dict(agvm=dict(interval=2, begin=10))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, begin=0, end=20, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=0, end=16, by_epoch=True, convert_to_iter_based=True)
]
train_cfg = dict(max_epochs=16, val_interval=4)
custom_hooks = [dict(type='SeedEpochHook')]
