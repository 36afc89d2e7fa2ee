# Purpose:  a small Faster R-CNN from scratch on real blood-cell images, trained by AGVM on a CPU.
# Hardware: 2 CPU processes x 8 images.
# Batch:    16 images per optimizer update.
# Expected: box AP_50 0.759, AP 0.419 (measured, seed 0).
# Command:  bash tools/dist_train.sh \
#           configs/faster_rcnn/faster-rcnn_r18_fpn_agvm-sgd_2xb8-12e_bccd.py 2
_base_ = [
    '../_base_/models/faster-rcnn_r18_fpn_small.py',
    '../_base_/datasets/bccd_detection.py',
    'mmdet::_base_/default_runtime.py',
]
custom_imports = dict(imports=['agvm_mm'], allow_failed_imports=False)

model = dict(roi_head=dict(bbox_head=dict(num_classes=3)))

optim_wrapper = dict(
    type='AGVMOptimWrapper',
    optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=1e-4),
    agvm=dict(anchor='backbone', interval=2, begin=20),
    clip_grad=dict(max_norm=5.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, begin=0, end=40, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=0, end=12, by_epoch=True, convert_to_iter_based=True)
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=12, val_interval=6)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=4, max_keep_ckpts=2))
custom_hooks = [dict(type='SeedEpochHook'), dict(type='VarianceTableHook')]
randomness = dict(seed=0)
