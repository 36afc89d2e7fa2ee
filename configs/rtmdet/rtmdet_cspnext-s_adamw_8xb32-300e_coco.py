# Purpose:  RTMDet-s on COCO 2017: AdamW.
# Batch:    256 images an update on 8 GPUs x 32; others by rule (docs/recipes.md).
# Command:  bash tools/dist_train.sh \
#           configs/rtmdet/rtmdet_cspnext-s_adamw_8xb32-300e_coco.py 8
_base_ = 'mmdet::rtmdet/rtmdet_s_8xb32-300e_coco.py'
custom_imports = dict(imports=['agvm_mm'], allow_failed_imports=False)

total_batch_size = 256
auto_scale_lr = dict(enable=False, base_batch_size=256, epoch_images=117266, rule='sqrt')
optim_wrapper = dict(type='PartsOptimWrapper', join_groups=True)
param_scheduler = [
    dict(
        type='ExponentialWarmupLR',
        ratio=0.001,
        begin=0,
        end=2,
        by_epoch=True,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        eta_min=2e-4,
        begin=150,
        end=300,
        T_max=150,
        by_epoch=True,
        convert_to_iter_based=True)
]
custom_hooks = [
    dict(
        type='EMAHook',
        ema_type='ExpMomentumEMA',
        momentum=0.0002,
        update_buffers=True,
        priority=49),
    dict(
        type='PipelineSwitchHook',
        switch_epoch=280,
        switch_pipeline={{_base_.train_pipeline_stage2}}),
    dict(type='ExactAccumulationHook')
]
