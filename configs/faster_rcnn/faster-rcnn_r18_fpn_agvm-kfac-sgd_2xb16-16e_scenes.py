# Purpose:  a small Faster R-CNN from scratch on generated scenes at a large batch: AGVM and K-FAC
#           on SGD.
# Hardware: 2 processes x 16 images, or one that accumulates gradients; a CPU will do.
# Batch:    32 images per optimizer update, 200 updates.
# Expected: not known.
# Derived:  lr that of K-FAC alone; damping, averaging and kl_clip not tuned.
# Command:  bash tools/dist_train.sh \
#           configs/faster_rcnn/faster-rcnn_r18_fpn_agvm-kfac-sgd_2xb16-16e_scenes.py 2
_base_ = './faster-rcnn_r18_fpn_agvm-sgd_2xb16-16e_scenes.py'

optim_wrapper = dict(
    optimizer=dict(lr=0.04),
    kfac=dict(
        damping=1e-2,
        momentum=0.8,
        statistics_interval=5,
        inverse_interval=10,
        max_block=None,
        max_size=1200,  # larger ones take a CPU too long to invert
        growing_intervals=False,
        kl_clip=1e-3))
custom_hooks = [dict(type='SeedEpochHook'), dict(type='KFACStateHook')]
