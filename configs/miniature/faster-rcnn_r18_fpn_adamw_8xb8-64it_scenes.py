# Purpose:  Tiny Faster R-CNN on generated scenes with AdamW at batch 64.
# Hardware: one CPU core; micro-batches of 8 images.
# Batch:    64 images per optimizer update.
# Expected: docs/results/miniature; the table is in docs/playbook.md.
# Command:  python -m lab.miniature --recipes faster-rcnn_r18_fpn_adamw_8xb8-64it_scenes
_base_ = './faster-rcnn_r18_fpn_sgd_8xb8-64it_scenes.py'

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=0.003, weight_decay=0.05))
