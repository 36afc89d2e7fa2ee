# 4,096 images at batch 64: 64 updates, a tenth of them warm-up, then a cosine to zero.
_base_ = 'mmdet::_base_/default_runtime.py'

train_cfg = dict(type='IterBasedTrainLoop', max_iters=64, val_interval=64)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, begin=0, end=6, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=6, end=64, T_max=58, by_epoch=False)
]
total_batch_size = 64
default_hooks = dict(
    logger=dict(interval=4, log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=64, max_keep_ckpts=1, save_optimizer=False))
log_processor = dict(by_epoch=False)
randomness = dict(seed=0)
