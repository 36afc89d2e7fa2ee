# Purpose:  Tiny Faster R-CNN on generated scenes with LAMB at batch 16.
# Hardware: one CPU core; micro-batches of 8 images.
# Batch:    16 images per optimizer update.
# Expected: docs/results/miniature; the table is in docs/playbook.md.
# Command:  python -m lab.miniature --recipes faster-rcnn_r18_fpn_lamb_2xb8-256it_scenes
_base_ = './faster-rcnn_r18_fpn_sgd_2xb8-256it_scenes.py'

optim_wrapper = dict(
    clip_grad=None,
    optimizer=dict(_delete_=True, type='LAMBOptimizer', lr=0.00875, weight_decay=0.01))
