# 4,096 images at batch 16: 256 updates, a tenth of them warm-up, then a cosine to zero. The sibling
# files do the same at other batches.
_base_ = 'mmdet::_base_/default_runtime.py'

train_cfg = dict(type='IterBasedTrainLoop', max_iters=256, val_interval=256)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, begin=0, end=25, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=25, end=256, T_max=231, by_epoch=False)
]
total_batch_size = 16
default_hooks = dict(
    logger=dict(interval=16, log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=256, max_keep_ckpts=1, save_optimizer=False))
log_processor = dict(by_epoch=False)
randomness = dict(seed=0)
