# Purpose:  Tiny Faster R-CNN on generated scenes with K-FAC and SGD at batch 64.
# Hardware: one CPU core; micro-batches of 8 images.
# Batch:    64 images per optimizer update.
# Expected: docs/results/miniature; the table is in docs/playbook.md.
# Command:  python -m lab.miniature --recipes faster-rcnn_r18_fpn_kfac-sgd_8xb8-64it_scenes
_base_ = './faster-rcnn_r18_fpn_sgd_8xb8-64it_scenes.py'

optim_wrapper = dict(
    optimizer=dict(lr=0.08),
    kfac=dict(
        damping=1e-5, momentum=0.8, kl_clip=1e-3, max_block=256,
        statistics_interval=5, inverse_interval=20, growing_intervals=False))
custom_hooks = [dict(type='KFACStateHook')]
