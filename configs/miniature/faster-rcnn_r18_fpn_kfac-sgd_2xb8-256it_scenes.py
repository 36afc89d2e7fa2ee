# Purpose:  Tiny Faster R-CNN on generated scenes with K-FAC and SGD at batch 16.
# Hardware: one CPU core; micro-batches of 8 images.
# Batch:    16 images per optimizer update.
# Expected: docs/results/miniature; the table is in docs/playbook.md.
# Command:  python -m lab.miniature --recipes faster-rcnn_r18_fpn_kfac-sgd_2xb8-256it_scenes
_base_ = './faster-rcnn_r18_fpn_sgd_2xb8-256it_scenes.py'

optim_wrapper = dict(
    optimizer=dict(lr=0.04),
    kfac=dict(
        damping=1e-5, momentum=0.8, kl_clip=1e-3, max_block=256,
        statistics_interval=20, inverse_interval=80, growing_intervals=False))
custom_hooks = [dict(type='KFACStateHook')]
