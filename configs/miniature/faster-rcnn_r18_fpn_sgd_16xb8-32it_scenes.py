# Purpose:  Tiny Faster R-CNN on generated scenes with SGD at batch 128.
# Hardware: one CPU core; micro-batches of 8 images.
# Batch:    128 images per optimizer update.
# Expected: docs/results/miniature; the table is in docs/recipes.md.
# Command:  python tools/miniature.py --recipes faster-rcnn_r18_fpn_sgd_16xb8-32it_scenes
_base_ = [
    '../_base_/models/faster-rcnn_r18_fpn_tiny.py',
    '../_base_/datasets/miniature_detection.py',
    '../_base_/schedules/miniature_128.py',
]
load_from = '{{$AGVM_MM_DATA:data}}/miniature/start/faster-rcnn_r18_fpn_scenes.pth'
custom_imports = dict(imports=['agvm_mm'], allow_failed_imports=False)

model = dict(roi_head=dict(bbox_head=dict(num_classes=6)))
optim_wrapper = dict(
    type='AGVMOptimWrapper',
    agvm=None,
    optimizer=dict(type='SGD', lr=0.0565, momentum=0.9, weight_decay=1e-4),
    clip_grad=dict(max_norm=10.0))
