# Measuring without modulating: one process, 16 micro-batches of one image in an update, of which
# every one is an estimation step. It wants train_dataloader.batch_size=1.
_base_ = 'mmdet::_base_/default_runtime.py'
custom_imports = dict(
    imports=['agvm_mm', 'lab.heads'], allow_failed_imports=False)

optim_wrapper = dict(
    type='AGVMOptimWrapper',
    optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=1e-4),
    accumulative_counts=16,
    agvm=dict(anchor='backbone', interval=1, apply=False),
    clip_grad=dict(max_norm=5.0))
total_batch_size = 16
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, begin=0, end=20, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=0, end=8, by_epoch=True, convert_to_iter_based=True)
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=8, val_interval=8)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(logger=dict(interval=2), checkpoint=dict(interval=8, max_keep_ckpts=1))
custom_hooks = [dict(type='SeedEpochHook'), dict(type='VarianceTableHook')]
randomness = dict(seed=0)
