# Purpose:  DINO R50 on COCO 2017: AdamW.
# Batch:    16 images an update on 8 GPUs x 2; others by rule (docs/recipes.md).
# Command:  bash tools/dist_train.sh \
#           configs/dino/dino_r50_adamw_8xb2-12e_coco.py 8
_base_ = 'mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py'
custom_imports = dict(imports=['agvm_mm'], allow_failed_imports=False)

total_batch_size = 16
auto_scale_lr = dict(enable=False, base_batch_size=16, epoch_images=118287, rule='sqrt')
optim_wrapper = dict(type='PartsOptimWrapper', join_groups=True)
param_scheduler = [
    dict(
        type='ExponentialWarmupLR',
        ratio=0.001,
        begin=0,
        end=2,
        by_epoch=True,
        convert_to_iter_based=True),
    dict(type='MultiStepLR', begin=0, end=12, by_epoch=True, milestones=[11], gamma=0.1)
]
custom_hooks = [dict(type='ExactAccumulationHook')]
