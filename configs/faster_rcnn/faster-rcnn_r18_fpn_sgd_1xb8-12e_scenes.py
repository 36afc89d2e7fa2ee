# Purpose:  the baseline of the curriculum in miniature: a small Faster R-CNN from scratch on
#           generated scenes.
# Hardware: 1 CPU process x 8 images.
# Batch:    8 images per optimizer update.
# Expected: box AP 20.5 +- 0.1, seeds 0 to 2 (docs/curriculum.md).
# Command:  python -m lab.curriculum_benchmark detection OUT
_base_ = [
    '../_base_/models/faster-rcnn_r18_fpn_small.py',
    '../_base_/datasets/scenes_detection.py',
    'mmdet::_base_/default_runtime.py',
]
custom_imports = dict(imports=['agvm_mm'], allow_failed_imports=False)

model = dict(roi_head=dict(bbox_head=dict(num_classes=6)))

optim_wrapper = dict(
    type='PartsOptimWrapper',
    optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=1e-4),
    clip_grad=dict(max_norm=5.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, begin=0, end=40, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=0, end=12, by_epoch=True, convert_to_iter_based=True)
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=12, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(logger=dict(interval=25), checkpoint=dict(interval=12, max_keep_ckpts=2))
custom_hooks = [dict(type='SeedEpochHook')]
randomness = dict(seed=0)
