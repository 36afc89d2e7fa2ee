# Purpose:  Semantic FPN R50 on ADE20K at batch 16: AGVM on SGD.
# Hardware: 4 GPUs x 4 images; fewer GPUs accumulate gradients to the same batch, with SyncBN over
#           fewer images.
# Batch:    16 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr = 0.01 at batch 16 (mmseg), square root for others; as many images as 80,000 updates
#           of 16; begin = end of the warm-up (2 epochs) + min(100 updates, half an epoch).
# Command:  bash tools/dist_train.sh \
#           configs/sem_fpn/fpn_r50_agvm-sgd_4xb4-80k_ade20k-512x512.py 8
_base_ = 'mmseg::sem_fpn/fpn_r50_4xb4-160k_ade20k-512x512.py'
custom_imports = dict(imports=['agvm_mm'], allow_failed_imports=False)

total_batch_size = 16
train_dataloader = dict(batch_size=4)

optim_wrapper = dict(
    type='AGVMOptimWrapper',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=5e-4),
    agvm=dict(anchor='backbone', estimator='all_pairs', interval=10, begin=2628, momentum=0.97))

param_scheduler = [
    dict(type='ExponentialWarmupLR', ratio=0.001, begin=0, end=2528, by_epoch=False),
    dict(type='PolyLR', eta_min=1e-4, power=0.9, begin=2528, end=80000, by_epoch=False)
]
train_cfg = dict(max_iters=80000, val_interval=8000)
default_hooks = dict(checkpoint=dict(interval=8000))
