# 4,096 images at batch 128: 32 updates, a tenth of them warm-up, then a cosine to zero.
_base_ = 'mmdet::_base_/default_runtime.py'

train_cfg = dict(type='IterBasedTrainLoop', max_iters=32, val_interval=32)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, begin=0, end=3, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=3, end=32, T_max=29, by_epoch=False)
]
total_batch_size = 128
default_hooks = dict(
    logger=dict(interval=2, log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=32, max_keep_ckpts=1, save_optimizer=False))
log_processor = dict(by_epoch=False)
randomness = dict(seed=0)
