# Batch 16 and 12 epochs of COCO 2017 as mmdet's 1x, with an exponential warm-up over two epochs.
# Another batch follows from auto_scale_lr, whose rule is that of SGD.
custom_imports = dict(imports=['agvm_mm'], allow_failed_imports=False)

total_batch_size = 16
auto_scale_lr = dict(
    enable=False,
    base_batch_size=16,
    epoch_images=117266,  # those with annotations, which are the ones that are read
    rule='linear-then-sqrt')

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=12, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(
        type='ExponentialWarmupLR',
        ratio=0.001,
        begin=0,
        end=2,
        by_epoch=True,
        convert_to_iter_based=True),
    dict(type='MultiStepLR', begin=0, end=12, by_epoch=True, milestones=[8, 11], gamma=0.1)
]
