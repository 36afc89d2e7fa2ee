# Purpose:  Mask2Former R50 on instances of COCO 2017: AdamW.
# Batch:    16 images an update on 8 GPUs x 2; others by rule (docs/recipes.md).
# Command:  bash tools/dist_train.sh \
#           configs/mask2former/mask2former_r50_adamw_8xb2-368750it_coco.py 8
_base_ = 'mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco.py'
custom_imports = dict(imports=['agvm_mm'], allow_failed_imports=False)

total_batch_size = 16
auto_scale_lr = dict(enable=False, base_batch_size=16, epoch_images=117266, rule='sqrt')
optim_wrapper = dict(type='PartsOptimWrapper', join_groups=True)
param_scheduler = [
    dict(type='ExponentialWarmupLR', ratio=0.001, begin=0, end=14660, by_epoch=False),
    dict(
        type='MultiStepLR',
        begin=0,
        end=368750,
        by_epoch=False,
        milestones=[327778, 355092],
        gamma=0.1)
]
custom_hooks = [dict(type='ExactAccumulationHook')]
default_hooks = dict(logger=dict(log_metric_by_epoch=False))  # scores at their iteration
