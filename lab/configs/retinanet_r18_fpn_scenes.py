# Purpose:  step 0 of the effective-batch experiment: RetinaNet, its head shared by five levels.
# Hardware: one CPU process x 16 micro-batches of one image.
# Command:  python -m lab.effective_batch retinanet
_base_ = [
    '../../configs/_base_/models/retinanet_r18_fpn_small.py',
    '../../configs/_base_/datasets/scenes_detection.py',
    './_base_/measure_8e.py',
]
train_dataloader = dict(batch_size=1)
model = dict(bbox_head=dict(num_classes=6))
