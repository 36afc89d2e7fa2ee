# Purpose:  a small RetinaNet on real blood-cell images, measuring without modulating.
# Hardware: one CPU process x 16 micro-batches of one image.
# Command:  python tools/analysis_tools/predict_batch_size.py \
#           lab/configs/retinanet_r18_fpn_bccd.py
_base_ = [
    '../../configs/_base_/models/retinanet_r18_fpn_small.py',
    '../../configs/_base_/datasets/bccd_detection.py',
    './_base_/measure_8e.py',
]
train_dataloader = dict(batch_size=1)
model = dict(bbox_head=dict(num_classes=3))
