# AGVM on AdamW from scratch: 6 epochs of the 400 generated scenes at batch 16, in micro-batches of
# 4 images. Nothing is pretrained, so all modules have the same rate.
custom_imports = dict(imports=['agvm_mm'], allow_failed_imports=False)

total_batch_size = 16
optim_wrapper = dict(
    type='AGVMOptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
    agvm=dict(interval=1, begin=20, precondition=True),
    clip_grad=dict(max_norm=5.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, begin=0, end=20, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=0, end=6, by_epoch=True, convert_to_iter_based=True)
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=6, val_interval=6)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
randomness = dict(seed=0)
