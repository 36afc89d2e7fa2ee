# Purpose:  SegFormer MiT-B0 on ADE20K: AdamW.
# Batch:    16 images an update on 8 GPUs x 2; others by rule (docs/recipes.md).
# Command:  bash tools/dist_train.sh \
#           configs/segformer/segformer_mit-b0_adamw_8xb2-160k_ade20k-512x512.py 8
_base_ = 'mmseg::segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py'
custom_imports = dict(imports=['agvm_mm'], allow_failed_imports=False)

total_batch_size = 16
auto_scale_lr = dict(enable=False, base_batch_size=16, rule='sqrt')
optim_wrapper = dict(type='PartsOptimWrapper', join_groups=True)
param_scheduler = [
    dict(type='ExponentialWarmupLR', ratio=0.001, begin=0, end=2528, by_epoch=False),
    dict(type='PolyLR', eta_min=0.0, power=1.0, begin=2528, end=160000, by_epoch=False)
]
