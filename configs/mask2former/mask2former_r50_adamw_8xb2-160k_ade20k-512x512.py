# Purpose:  Mask2Former R50 on ADE20K: AdamW.
# Batch:    16 images an update on 8 GPUs x 2; others by rule (docs/recipes.md).
# Command:  bash tools/dist_train.sh \
#           configs/mask2former/mask2former_r50_adamw_8xb2-160k_ade20k-512x512.py 8
_base_ = 'mmseg::mask2former/mask2former_r50_8xb2-160k_ade20k-512x512.py'
custom_imports = dict(imports=['agvm_mm'], allow_failed_imports=False)

total_batch_size = 16
auto_scale_lr = dict(enable=False, base_batch_size=16, rule='sqrt')
optim_wrapper = dict(type='PartsOptimWrapper', join_groups=True)
param_scheduler = [
    dict(type='ExponentialWarmupLR', ratio=0.001, begin=0, end=2528, by_epoch=False),
    dict(type='PolyLR', eta_min=0, power=0.9, begin=2528, end=160000, by_epoch=False)
]
custom_hooks = [dict(type='ExactAccumulationHook')]
