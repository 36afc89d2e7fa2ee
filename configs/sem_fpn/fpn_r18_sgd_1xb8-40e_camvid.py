# Purpose:  the baseline of the curriculum in miniature: a small Semantic FPN from scratch on
#           CamVid.
# Hardware: 1 CPU process x 8 images.
# Batch:    8 images per optimizer update.
# Expected: mIoU 33.0 +- 0.7, seeds 0 to 2 (docs/curriculum.md).
# Command:  python -m lab.curriculum_benchmark segmentation OUT
_base_ = [
    '../_base_/models/fpn_r18_small.py',
    '../_base_/datasets/camvid_segmentation.py',
    'mmseg::_base_/default_runtime.py',
]
custom_imports = dict(imports=['agvm_mm'], allow_failed_imports=False)

optim_wrapper = dict(
    type='PartsOptimWrapper',
    optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=5e-4),
    clip_grad=dict(max_norm=5.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, begin=0, end=40, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=0, end=40, by_epoch=True, convert_to_iter_based=True)
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=40, val_interval=4)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=20),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', interval=40, max_keep_ckpts=2),
    sampler_seed=dict(type='DistSamplerSeedHook'))
log_processor = dict(by_epoch=True)
custom_hooks = [dict(type='SeedEpochHook')]
randomness = dict(seed=0)
