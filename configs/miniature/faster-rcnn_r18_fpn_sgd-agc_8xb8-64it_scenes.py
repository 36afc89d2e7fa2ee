# Purpose:  Tiny Faster R-CNN on generated scenes with SGD and AGC at batch 64.
# Hardware: one CPU core; micro-batches of 8 images.
# Batch:    64 images per optimizer update.
# Expected: docs/results/miniature; the table is in docs/contributing/miniature.md.
# Command:  python -m lab.miniature --recipes faster-rcnn_r18_fpn_sgd-agc_8xb8-64it_scenes
_base_ = './faster-rcnn_r18_fpn_sgd_8xb8-64it_scenes.py'

optim_wrapper = dict(
    clip_grad=dict(_delete_=True, type='agc', clip_factor=0.01),
    optimizer=dict(lr=0.32))
