# Purpose:  Semantic FPN R50 on ADE20K at batch 64: AGVM on SGD.
# Hardware: 16 GPUs x 4 images; fewer GPUs accumulate gradients to the same batch, with SyncBN over
#           fewer images.
# Batch:    64 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr = 0.01 at batch 16 (mmseg), square root for others; as many images as 80,000 updates
#           of 16; begin = end of the warm-up (2 epochs) + min(100 updates, half an epoch).
# Command:  bash tools/dist_train.sh \
#           configs/sem_fpn/fpn_r50_agvm-sgd_16xb4-20k_ade20k-512x512.py 8
_base_ = './fpn_r50_agvm-sgd_4xb4-80k_ade20k-512x512.py'

total_batch_size = 64

optim_wrapper = dict(optimizer=dict(lr=0.01 * (64 / 16) ** 0.5), agvm=dict(begin=732))

param_scheduler = [
    dict(type='ExponentialWarmupLR', ratio=0.001, begin=0, end=632, by_epoch=False),
    dict(type='PolyLR', eta_min=1e-4, power=0.9, begin=632, end=20000, by_epoch=False)
]
train_cfg = dict(max_iters=20000, val_interval=2000)
default_hooks = dict(checkpoint=dict(interval=2000))
