# Purpose:  a small Faster R-CNN from scratch on generated scenes, trained by AGVM on a CPU in a few
#           minutes.
# Hardware: 2 CPU processes x 4 images.
# Batch:    8 images per optimizer update.
# Expected: box AP_50 0.25 to 0.28, AP 0.13 to 0.14 (seed 0, two kinds of CPU; 2 to 5 minutes).
# Command:  bash tools/dist_train.sh \
#           configs/faster_rcnn/faster-rcnn_r18_fpn_agvm-sgd_2xb4-10e_scenes.py 2
_base_ = [
    '../_base_/models/faster-rcnn_r18_fpn_small.py',
    '../_base_/datasets/scenes_detection.py',
    'mmdet::_base_/default_runtime.py',
]
custom_imports = dict(imports=['agvm_mm'], allow_failed_imports=False)

train_dataloader = dict(batch_size=4)
model = dict(roi_head=dict(bbox_head=dict(num_classes=6)))

optim_wrapper = dict(
    type='AGVMOptimWrapper',
    optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=1e-4),
    agvm=dict(anchor='backbone', interval=2, begin=20),
    clip_grad=dict(max_norm=5.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, begin=0, end=40, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=0, end=10, by_epoch=True, convert_to_iter_based=True)
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=10, val_interval=10)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(logger=dict(interval=25), checkpoint=dict(interval=2, max_keep_ckpts=2))
custom_hooks = [dict(type='SeedEpochHook'), dict(type='VarianceTableHook')]
randomness = dict(seed=0)
