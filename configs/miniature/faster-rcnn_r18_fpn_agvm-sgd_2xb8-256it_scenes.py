# Purpose:  Tiny Faster R-CNN on generated scenes with AGVM on SGD at batch 16.
# Hardware: one CPU core; micro-batches of 8 images.
# Batch:    16 images per optimizer update.
# Expected: docs/results/miniature; the table is in docs/playbook.md.
# Command:  python -m lab.miniature --recipes faster-rcnn_r18_fpn_agvm-sgd_2xb8-256it_scenes
_base_ = './faster-rcnn_r18_fpn_sgd_2xb8-256it_scenes.py'

optim_wrapper = dict(
    type='AGVMOptimWrapper',
    agvm=dict(interval=2, begin=26, momentum=0.95),
    optimizer=dict(lr=0.08))
