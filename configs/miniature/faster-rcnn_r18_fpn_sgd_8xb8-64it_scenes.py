# Purpose:  Tiny Faster R-CNN on generated scenes with SGD at batch 64.
# Hardware: one CPU core; micro-batches of 8 images.
# Batch:    64 images per optimizer update.
# Expected: docs/results/miniature; the table is in docs/playbook.md.
# Command:  python -m lab.miniature --recipes faster-rcnn_r18_fpn_sgd_8xb8-64it_scenes
_base_ = [
    '../_base_/models/faster-rcnn_r18_fpn_tiny.py',
    '../_base_/datasets/miniature_detection.py',
    '../_base_/schedules/miniature_64.py',
    '../_base_/schedules/miniature_sgd.py',
]
load_from = '{{$AGVM_MM_DATA:data}}/miniature/start/faster-rcnn_r18_fpn_scenes.pth'

model = dict(roi_head=dict(bbox_head=dict(num_classes=6)))
optim_wrapper = dict(optimizer=dict(lr=0.04))
