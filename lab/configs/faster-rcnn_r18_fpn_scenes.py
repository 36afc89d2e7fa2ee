# Purpose:  step 0 of the effective-batch experiment: Faster R-CNN, 64 proposals an image.
# Hardware: one CPU process x 16 micro-batches of one image.
# Command:  python -m lab.effective_batch faster-rcnn
_base_ = [
    '../../configs/_base_/models/faster-rcnn_r18_fpn_small.py',
    '../../configs/_base_/datasets/scenes_detection.py',
    './_base_/measure_8e.py',
]
train_dataloader = dict(batch_size=1)
model = dict(
    backbone=dict(base_channels=32),
    neck=dict(in_channels=[32, 64, 128, 256]),
    roi_head=dict(bbox_head=dict(num_classes=6)))
