# Purpose:  Tiny Panoptic FPN on generated scenes with SGD at batch 16.
# Hardware: one CPU core; micro-batches of 8 images.
# Batch:    16 images per optimizer update.
# Expected: docs/results/miniature; the table is in docs/contributing/miniature.md.
# Command:  python -m lab.miniature --recipes panoptic-fpn_r18_fpn_sgd_2xb8-256it_scenes
_base_ = [
    '../_base_/models/panoptic-fpn_r18_fpn_tiny.py',
    '../_base_/datasets/miniature_panoptic.py',
    '../_base_/schedules/miniature_16.py',
    '../_base_/schedules/miniature_sgd.py',
]
load_from = '{{$AGVM_MM_DATA:data}}/miniature/start/panoptic-fpn_r18_fpn_scenes.pth'

optim_wrapper = dict(optimizer=dict(lr=0.08))
