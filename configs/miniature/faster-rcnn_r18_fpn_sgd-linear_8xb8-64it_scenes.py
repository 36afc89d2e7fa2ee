# Purpose:  Tiny Faster R-CNN on generated scenes with SGD at batch 64, linear rule.
# Hardware: one CPU core; micro-batches of 8 images.
# Batch:    64 images per optimizer update.
# Expected: docs/results/miniature; the table is in docs/playbook.md.
# Command:  python -m lab.miniature --recipes faster-rcnn_r18_fpn_sgd-linear_8xb8-64it_scenes
_base_ = './faster-rcnn_r18_fpn_sgd_8xb8-64it_scenes.py'

optim_wrapper = dict(optimizer=dict(lr=0.16))
