# Purpose:  Semantic FPN NF-R50 on ADE20K at batch 256: AGVM on SGD with adaptive gradient clipping.
# Hardware: 64 GPUs x 4 images; fewer GPUs accumulate gradients to the same batch, exactly: no batch
#           statistics.
# Batch:    256 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr = 0.01 at batch 16 (mmseg), square root for others; as many images as 80,000 updates
#           of 16; clip_factor = 0.01, the authors' for batch 1024 to 4096; begin = end of the
#           warm-up (2 epochs) + min(100 updates, half an epoch); nothing is tuned.
# Command:  bash tools/dist_train.sh \
#           configs/nf_resnet/fpn_nf-r50_agvm-sgd-agc_64xb4-5k_ade20k-512x512.py 8
_base_ = './fpn_nf-r50_agvm-sgd-agc_4xb4-80k_ade20k-512x512.py'

total_batch_size = 256

optim_wrapper = dict(optimizer=dict(lr=0.01 * (256 / 16) ** 0.5), agvm=dict(begin=197))

param_scheduler = [
    dict(type='ExponentialWarmupLR', ratio=0.001, begin=0, end=158, by_epoch=False),
    dict(type='PolyLR', eta_min=1e-4, power=0.9, begin=158, end=5000, by_epoch=False)
]
train_cfg = dict(max_iters=5000, val_interval=500)
default_hooks = dict(checkpoint=dict(interval=500))
